// The harness's pinned memory: what copies bring there arrives when the host has waited for it, and
// what they take from there must stay as it is until then.
#include "harness_parts.h"

#include <stdlib.h>

struct pinned_copy {
    int stream;
    uint32_t launch;
    char *host;
    std::vector<char> bytes;
    bool arrives; // else it leaves
};
static std::map<char *, size_t> pinned;
static std::vector<pinned_copy> on_the_way; // that the host has not waited for

// The block around an address; end() where that is not pinned.
static std::map<char *, size_t>::iterator block_of(const void *host) {
    auto block = pinned.upper_bound((char *)host);
    if (block == pinned.begin()) return pinned.end();
    --block;
    return (const char *)host < block->first + block->second ? block : pinned.end();
}

bool harness_send_pinned(const gpu_device *d, uint32_t launch, void *host, const void *bytes,
                         size_t n, bool arrives) {
    if (block_of(host) == pinned.end()) return false;
    const char *from = (const char *)bytes;
    on_the_way.push_back(
        {d->stream, launch, (char *)host, std::vector<char>(from, from + n), arrives});
    if (arrives) memset(host, 0xEE, n);
    return true;
}

void harness_settle_pinned(gpu *g, const clocks &over_for_host) {
    std::vector<pinned_copy> rest;
    for (pinned_copy &c : on_the_way) {
        const auto known = over_for_host.find(c.stream);
        if (known == over_for_host.end() || c.launch > known->second)
            rest.push_back(std::move(c));
        else if (c.arrives)
            memcpy(c.host, c.bytes.data(), c.bytes.size());
        else if (memcmp(c.host, c.bytes.data(), c.bytes.size()) != 0)
            gpu_fail(g, "pinned memory was written before a copy of it was over");
    }
    on_the_way.swap(rest);
}

void *gpu_pinned_new(gpu *g, size_t bytes) {
    if (!harness_may(g, "pinned memory is allocated") || !harness_take_memory(g, bytes))
        return nullptr;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    char *at = (char *)malloc(bytes);
    pinned[at] = bytes;
    return at;
}

void gpu_pinned_free(void *memory) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    const auto block = block_of(memory);
    if (block == pinned.end()) return;
    std::vector<pinned_copy> rest; // CUDA waits for the copies of what it takes back
    for (pinned_copy &c : on_the_way)
        if (block_of(c.host) != block) rest.push_back(std::move(c));
    on_the_way.swap(rest);
    pinned.erase(block);
    n_taken--;
    free(memory);
}
