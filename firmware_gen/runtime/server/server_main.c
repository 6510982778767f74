/* The HIL server over standard input and output, or over a serial device or pty named as the only argument. RESET starts
 * it anew, with the boot counter moved on; it ends with its input.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include "ec_host.h"

static int write_all(int to, const uint8_t *bytes, size_t count)
{
    while (count > 0u) {
        const ssize_t written = write(to, bytes, count);
        if (written <= 0)
            return -1;
        bytes += written;
        count -= (size_t)written;
    }
    return 0;
}

/* Bytes as they are: no echo, no line editing, no translation. */
static void make_raw(int port)
{
    struct termios settings;
    if (tcgetattr(port, &settings) != 0)
        return; /* a pipe or a socket has nothing to set */
    settings.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INLCR | IGNCR | INPCK | ISTRIP | IXON | PARMRK);
    settings.c_oflag &= ~(tcflag_t)OPOST;
    settings.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    settings.c_cflag |= CS8;
    tcsetattr(port, TCSANOW, &settings);
}

/* Serves one life of the device; returns 1 after a RESET, 0 at the end of the input, -1 on an error. */
static int serve(int from, int to, uint32_t boot_counter, uint8_t cause)
{
    uint8_t bytes[4096];
    int verdict = 0;
    ec_host *const host = ec_host_new(boot_counter, cause);
    if (host == NULL)
        return -1;
    while (verdict == 0) {
        const ssize_t got = read(from, bytes, sizeof bytes);
        uint32_t waiting;
        if (got <= 0)
            break;
        waiting = ec_host_feed(host, bytes, (uint32_t)got);
        while (waiting > 0u && verdict == 0) {
            const uint32_t count = ec_host_read(host, bytes, sizeof bytes);
            verdict = write_all(to, bytes, count);
            waiting -= count;
        }
        if (verdict == 0 && ec_host_wants_reset(host))
            verdict = 1;
    }
    ec_host_free(host);
    return verdict;
}

int main(int argc, char **argv)
{
    int from = STDIN_FILENO, to = STDOUT_FILENO, again = 1;
    if (argc > 1) {
        from = to = open(argv[1], O_RDWR | O_NOCTTY);
        if (from < 0) {
            perror(argv[1]);
            return 1;
        }
    }
    make_raw(from);
    for (uint32_t boots = 1; again == 1; boots++)
        again = serve(from, to, boots, boots == 1u ? EC_RESET_POWER_ON : EC_RESET_SOFTWARE);
    return again == 0 ? 0 : 1;
}
