// The fibres behind shim.h: scheduling, barriers, guarded arguments, signals.
#include "shim.h"

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__) || defined(SHIM_UCONTEXT)
#include <ucontext.h>
#endif

extern "C" {
extern char __start_shim_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_shim_shared[] __attribute__((weak, visibility("hidden")));
}

namespace shim {

dim3 block_index, block_size, grid_size;
Here *now;
char *dynamic_shared;

namespace {

constexpr unsigned char POISON = 0xA5;
constexpr size_t STACK = 128 << 10, PAGE = 4096, ALIGNED = 16, GUARD = 1 << 20;
// A block has so much without asking, and so much at most; host.py says what the module asks for, and from where on.
constexpr size_t DEFAULT_SHARED = 48 << 10, MOST_SHARED = 227 << 10;

#if defined(__x86_64__) && !defined(SHIM_UCONTEXT)
using Context = void *;
extern "C" void shim_switch(Context *from, Context *to) __attribute__((visibility("hidden")));
asm(R"(
    .text
    .hidden shim_switch
    .globl shim_switch
    .type shim_switch, @function
shim_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov (%rsi), %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size shim_switch, .-shim_switch
)");
void prepare(Context *context, char *stack, void (*entry)()) {
    void **top = reinterpret_cast<void **>(stack + STACK - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    *context = top;
}
#else
using Context = ucontext_t;
void shim_switch(Context *from, Context *to) { swapcontext(from, to); }
void prepare(Context *context, char *stack, void (*entry)()) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}
#endif

enum class State { ready, warp, block, done };

struct Thread : Here {
    Context context;
    State state;
    int line;        // where it waits
    unsigned mask;   // lanes that it waits for
    unsigned from;   // lane whose value it asks for, without a fold
    Fold fold;       // what makes one value of those of all lanes
    uint64_t value, result;
};

std::vector<Thread> threads;
std::vector<char> shared_memory;
char *stacks;
Context scheduler;
char message[400];
Call body;
void **body_arguments;
size_t waiting_at_block;

Thread &current() { return *static_cast<Thread *>(now); }

void leave() { shim_switch(&current().context, &scheduler); }

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
}

void enter() {
    body(body_arguments);
    current().state = State::done;
    leave();
    abort();
}

void run(Thread &thread) {
    now = &thread;
    shim_switch(&scheduler, &thread.context);
}

// The last lane of ``mask`` to come answers all; before that this only finds that some are missing.
void settle(Thread &last) {
    Thread *warp = &threads[last.linear / WARP * WARP];
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (!(last.mask >> lane & 1)) continue;
        if (&warp[lane] >= threads.data() + threads.size()) fault("line %d: lane %u does not exist", last.line, lane);
        if (warp[lane].state == State::done) fault("line %d: lane %u has ended", last.line, lane);
    }
    for (unsigned lane = 0; lane < WARP; lane++)
        if (last.mask >> lane & 1) {
            const Thread &other = warp[lane];
            if (other.state != State::warp || other.line != last.line || other.mask != last.mask) return;
        }
    uint64_t folded = 0;
    bool first = true;
    for (unsigned lane = 0; last.fold && lane < WARP; lane++)
        if (last.mask >> lane & 1) {
            folded = first ? warp[lane].value : last.fold(folded, warp[lane].value);
            first = false;
        }
    for (unsigned lane = 0; lane < WARP; lane++)
        if (last.mask >> lane & 1) {
            if (!last.fold && !(last.mask >> warp[lane].from & 1))
                fault("line %d: lane %u asks lane %u, which takes no part", last.line, lane, warp[lane].from);
            warp[lane].result = last.fold ? folded : warp[warp[lane].from].value;
            warp[lane].state = State::ready;
        }
}

void stuck() {
    const Thread *waits = nullptr, *ended = nullptr;
    for (const Thread &thread : threads) {
        if (!waits && (thread.state == State::block || thread.state == State::warp)) waits = &thread;
        if (!ended && thread.state == State::done) ended = &thread;
    }
    const Thread *other = ended;
    for (const Thread &thread : threads)
        if (!other && (thread.line != waits->line || thread.state != waits->state)) other = &thread;
    char what[100] = "lanes differ in mask";
    if (ended) snprintf(what, sizeof what, "thread %u has ended", ended->linear);
    else if (other) snprintf(what, sizeof what, "thread %u waits on line %d", other->linear, other->line);
    say("block (%u, %u, %u), thread %u: %s on line %d that not all reach: %s", block_index.x, block_index.y,
        block_index.z, waits->linear, waits->state == State::block ? "barrier" : "warp operation", waits->line, what);
}

std::vector<unsigned> permutation(unsigned count, unsigned order) {
    std::vector<unsigned> found(count);
    for (unsigned i = 0; i < count; i++) found[i] = order == 1 ? count - 1 - i : i;
    uint64_t state = order * 0x9E3779B97F4A7C15ull;
    for (unsigned i = count; order > 1 && i > 1; i--) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        std::swap(found[i - 1], found[(state >> 33) % i]);
    }
    return found;
}

void run_block(unsigned order) {
    const unsigned count = unsigned(threads.size()), warps = (count + WARP - 1) / WARP;
    if (__start_shim_shared) memset(__start_shim_shared, POISON, size_t(__stop_shim_shared - __start_shim_shared));
    std::fill(shared_memory.begin(), shared_memory.end(), char(POISON));
    waiting_at_block = 0;
    for (unsigned i = 0; i < count; i++) {
        Thread &thread = threads[i];
        thread.index = {i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)};
        thread.linear = i, thread.state = State::ready;
        prepare(&thread.context, stacks + i * (STACK + PAGE) + PAGE, enter);
    }
    const std::vector<unsigned> warp_order = permutation(warps, order), lane_order = permutation(WARP, order);
    for (;;) {
        bool ran = false;
        for (unsigned warp : warp_order)
            for (bool again = true; again;) {
                again = false;
                for (unsigned lane : lane_order) {
                    const unsigned i = warp * WARP + lane;
                    if (i >= count || threads[i].state != State::ready) continue;
                    run(threads[i]);
                    if (message[0]) return;
                    again = ran = true;
                }
            }
        if (ran) continue;
        for (const Thread &thread : threads)
            if (thread.state != State::done) return stuck();
        return;
    }
}

// An argument's own pages, as near as can be to a stretch that nobody may touch.
struct Buffer {
    char *pages = nullptr, *data = nullptr;
    size_t inner = 0, bytes = 0;
    bool writable = false;

    size_t size() const { return inner + 2 * GUARD; }
    void fill(const void *from, size_t count, bool written) {
        bytes = count, writable = written;
        const size_t room = (count + ALIGNED - 1) / ALIGNED * ALIGNED;
        inner = (room + PAGE - 1) / PAGE * PAGE;
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        pages = static_cast<char *>(mmap(nullptr, size(), PROT_NONE, flags, -1, 0));
        if (pages == MAP_FAILED) abort();
        data = pages + GUARD + inner - room;
        if (!count) return;
        mprotect(pages + GUARD, inner, PROT_READ | PROT_WRITE);
        memset(pages + GUARD, POISON, inner);
        memcpy(data, from, count);
        if (!written) mprotect(pages + GUARD, inner, PROT_READ);
    }
    bool clean() const {
        for (const char *p = pages + GUARD; p < pages + GUARD + inner; p++)
            if ((p < data || p >= data + bytes) && static_cast<unsigned char>(*p) != POISON) return false;
        return true;
    }
};

std::vector<Buffer> buffers;

void on_signal(int number, siginfo_t *info, void *) {
    const char *at = static_cast<const char *>(info->si_addr);
    if (number == SIGILL || number == SIGTRAP) fault("index, shift or alignment outside what C++ defines");
    if (number == SIGFPE) fault("division by zero");
    for (size_t i = 0; i < buffers.size(); i++) {
        const Buffer &buffer = buffers[i];
        if (!buffer.pages || at < buffer.pages || at >= buffer.pages + buffer.size()) continue;
        if (at >= buffer.data && at < buffer.data + buffer.bytes) fault("writes to argument %zu, which is const", i);
        fault("touches argument %zu at byte %td of %zu", i, at - buffer.data, buffer.bytes);
    }
    fault("touches memory that is no argument's: %p", info->si_addr);
}

struct Signals {
    static constexpr int NUMBERS[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
    struct sigaction before[5];
    stack_t stack_before;
    std::vector<char> stack = std::vector<char>(64 << 10);

    Signals() {
        stack_t own{};
        own.ss_sp = stack.data(), own.ss_size = stack.size();
        sigaltstack(&own, &stack_before);
        struct sigaction action {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < 5; i++) sigaction(NUMBERS[i], &action, &before[i]);
    }
    ~Signals() {
        for (int i = 0; i < 5; i++) sigaction(NUMBERS[i], &before[i], nullptr);
        sigaltstack(&stack_before, nullptr);
    }
};

void make_stacks(size_t count) {
    static size_t have = 0;
    if (count <= have) return;
    if (stacks) munmap(stacks, have * (STACK + PAGE));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    stacks = static_cast<char *>(mmap(nullptr, count * (STACK + PAGE), PROT_READ | PROT_WRITE, flags, -1, 0));
    if (stacks == MAP_FAILED) abort();
    for (size_t i = 0; i < count; i++) mprotect(stacks + i * (STACK + PAGE), PAGE, PROT_NONE);
    have = count;
}

}  // namespace

[[noreturn]] void fault(const char *format, ...) {
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    say("block (%u, %u, %u), thread (%u, %u, %u): %s", block_index.x, block_index.y, block_index.z, now->index.x,
        now->index.y, now->index.z, what);
    leave();
    abort();
}

uint64_t over_warp(int line, unsigned mask, uint64_t value, unsigned from, Fold fold) {
    if (!(mask >> now->linear % WARP & 1)) fault("line %d: lane %u is not in its mask", line, now->linear % WARP);
    Thread &me = current();
    me.line = line, me.mask = mask, me.value = value, me.from = from, me.fold = fold;
    me.state = State::warp;
    settle(me);
    if (me.state != State::ready) leave();
    return me.result;
}

void over_block(int line) {
    current().line = line;
    current().state = State::block;
    if (++waiting_at_block == threads.size()) {
        for (const Thread &other : threads)
            if (other.line != line) fault("line %d: thread %u waits on line %d", line, other.linear, other.line);
        for (Thread &other : threads) other.state = State::ready;
        waiting_at_block = 0;
        // The others go on first as well, so that no thread is always ahead.
        leave();
        return;
    }
    leave();
}

uint64_t fold_block(int line, uint64_t value, Fold fold) {
    static uint64_t values[1024];
    values[now->linear] = value;
    over_block(line);
    uint64_t folded = values[0];
    for (size_t i = 1; i < threads.size(); i++) folded = fold(folded, values[i]);
    over_block(line);
    return folded;
}

const char *launch(Call call, size_t count, void **values, const long long *bytes, const unsigned char *written,
                   const unsigned *geometry, size_t shared, unsigned order) {
    message[0] = 0;
    grid_size = {geometry[0], geometry[1], geometry[2]}, block_size = {geometry[3], geometry[4], geometry[5]};
    const unsigned long long size = 1ull * block_size.x * block_size.y * block_size.z;
    if (!size || size > 1024 || block_size.z > 64) return "a block holds 1 to 1024 threads, at most 64 along z";
    if (!grid_size.x || !grid_size.y || !grid_size.z) return "the grid is empty";
    if (grid_size.x > 0x7FFFFFFFu || grid_size.y > 65535 || grid_size.z > 65535) return "the grid is too large";
    // What is static in any kernel of the file; without dynamic memory a compiler sees to the bound.
    const size_t fixed = shared && __start_shim_shared ? size_t(__stop_shim_shared - __start_shim_shared) : 0;
    if (shared > ASKED_SHARED) return "more dynamic shared memory than is asked for";
    if (fixed + shared > MOST_SHARED) return "more shared memory than a block can have";
    if (shared <= UNASKED_SHARED && fixed + shared > DEFAULT_SHARED) return "more shared memory than a block has unasked";
    threads.resize(size);
    shared_memory.resize(shared);
    dynamic_shared = shared_memory.data();
    make_stacks(size);
    buffers.assign(count, Buffer{});
    std::vector<void *> pointers(count), arguments(count);
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] >= 0) buffers[i].fill(values[i], size_t(bytes[i]), written[i]);
        pointers[i] = buffers[i].data;
        arguments[i] = bytes[i] >= 0 ? static_cast<void *>(&pointers[i]) : values[i];
    }
    body = call, body_arguments = arguments.data();
    {
        Signals signals;
        for (unsigned z = 0; z < grid_size.z; z++)
            for (unsigned y = 0; y < grid_size.y; y++)
                for (unsigned x = 0; x < grid_size.x && !message[0]; x++) {
                    block_index = {order == 1 ? grid_size.x - 1 - x : x, y, z};
                    run_block(order);
                }
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] < 0) continue;
        if (!message[0] && !buffers[i].clean()) say("writes outside argument %zu of %lld bytes", i, bytes[i]);
        if (!message[0] && buffers[i].writable && bytes[i]) memcpy(values[i], buffers[i].data, size_t(bytes[i]));
        munmap(buffers[i].pages, buffers[i].size());
    }
    return message[0] ? message : nullptr;
}

}  // namespace shim
