/* Test firmware for the emulator: every received byte is a command, most of them misdeeds. Sends the byte back first. */
#define REGISTER(address) (*(volatile unsigned *)(address))
#define UART_DATA REGISTER(0x40004000u)
#define UART_STATE REGISTER(0x40004004u)
#define EDGE REGISTER(0x40010004u)
#define AIRCR REGISTER(0xE000ED0Cu)

extern unsigned stack_top;
void Reset_Handler(void);
volatile unsigned sink = 1;
static volatile unsigned boots __attribute__((section(".noinit")));
static volatile unsigned restless __attribute__((section(".noinit")));

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {&stack_top, (const void *)Reset_Handler};

__attribute__((noinline)) unsigned collatz(unsigned n)
{
    unsigned steps = 0;
    for (; n != 1u; steps++)
        n = n & 1u ? 3u * n + 1u : n / 2u;
    return steps;
}

__attribute__((noinline)) unsigned divide(unsigned n)
{
    return n / sink;
}

__attribute__((noinline)) void loop_forever(void)
{
    for (;;)
        sink++;
}

__attribute__((noinline)) void jump_to_nowhere(void)
{
    ((void (*)(void))0x60000001u)();
}

__attribute__((noreturn)) static void restart(void)
{
    AIRCR = 0x05FA0004u;
    for (;;)
        ;
}

static void work(unsigned n)
{
    EDGE = 1;
    sink += collatz(n) + divide(n);
    EDGE = 0;
}

/* A predicated load, store and pin, of pages that nothing else touches, each with a branch on a condition at the start of a block behind. */
static void predicated(void)
{
    __asm volatile("cmp %0, %0\n\tit eq\n\tldreq r3, [%0]\n\tb 1f\n1:\tbne 2f\n2:" ::"r"(0x20180000u) : "r3", "cc");
    __asm volatile("cmp %0, %0\n\tit eq\n\tstreq %0, [%0]\n\tb 1f\n1:\tbne 2f\n2:" ::"r"(0x20280000u) : "cc");
    __asm volatile("cmp %0, %0\n\tit eq\n\tstreq %1, [%0]\n\tb 1f\n1:\tbne 2f\n2:" ::"r"(0x40010004u), "r"(0) : "cc");
}

static void obey(unsigned command)
{
    UART_DATA = command;
    switch (command) {
    case 'h':
        loop_forever();
    case 'n':
        jump_to_nowhere();
        break;
    case 'u':
        __asm volatile("udf #1");
        break;
    case 'f':
        *(volatile unsigned *)0x100u = 1;
        break;
    case 'l':
        sink += *(volatile unsigned *)0x70000000u;
        break;
    case 'p':
        predicated();
        break;
    case 'b':
        for (;;)
            UART_DATA = 'x';
    case 'R':
        restless = 1;
        restart();
    case 'r':
        restart();
    case 0:
        break;
    default:
        work(command);
    }
}

void Reset_Handler(void)
{
#ifdef CRASH_AT_START
    jump_to_nowhere();
#endif
    if (restless)
        restart();
    UART_DATA = '0' + ++boots;
    for (;;) {
        __asm volatile("wfi");
        while (UART_STATE & 2u)
            obey(UART_DATA);
    }
}
