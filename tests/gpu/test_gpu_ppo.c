// PPO's fixtures on the device: forward pass, losses, gradients of every layer.
#include "gpu/parity.h"

#define main ppo_parity_main
int ppo_parity_main(void);
#include "algo/test_ppo_parity.c"
#undef main

int main(void) {
    parity_backend();
    return ppo_parity_main();
}
