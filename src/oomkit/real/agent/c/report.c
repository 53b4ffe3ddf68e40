/* Report lines, clocks, and knobs of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define LINE 4000 /* less than a pipe takes at once */
#define HELD (16 << 10)

const char *fault_path = "-";

double used_s(int clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double now_s(void) { return used_s(CLOCK_MONOTONIC); }

void rest_s(double seconds) {
    if (seconds <= 0) return;
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&left, NULL);
}

int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        data += put;
        size -= (size_t)put;
    }
    return 0;
}

/* Lines that are held back until they are written at once: each write to a guest's port allocates, and
 * may wait for memory. */
static struct {
    int fd;
    char *data;
    size_t used;
} held = {.fd = -1};

void hold_lines(int fd) {
    if (held.data == NULL) held.data = lasting(HELD);
    held.fd = fd;
}

void release_lines(void) {
    int fd = held.fd;
    held.fd = -1;
    if (fd >= 0) write_all(fd, held.data, held.used);
    held.used = 0;
}

static void put_line(int fd, const char *line, size_t size) {
    if (fd != held.fd) {
        write_all(fd, line, size);
        return;
    }
    if (held.used + size > HELD) {
        write_all(fd, held.data, held.used);
        held.used = 0;
    }
    memcpy(held.data + held.used, line, size);
    held.used += size;
}

/* That the reader has exited shows at the control pipe, not here. */
void say(int fd, const char *event, const char *format, ...) {
    char line[LINE];
    size_t used = (size_t)snprintf(line, sizeof line, "%s %.4f", event, now_s());
    if (*format) {
        va_list values;
        line[used++] = ' ';
        va_start(values, format);
        int more = vsnprintf(line + used, sizeof line - used - 1, format, values);
        va_end(values);
        if (more > 0) used += (size_t)more < sizeof line - used - 1 ? (size_t)more : sizeof line - used - 2;
    }
    for (size_t i = 0; i < used; i++)
        if (line[i] == '\n') line[i] = ' ';
    line[used++] = '\n';
    put_line(fd, line, used);
}

/* A value that begins with a device is written with that one's number, which is the kernel's to choose. */
int write_file_text(const char *path, const char *value) {
    char numbered[128];
    struct stat device;
    const char *rest = strncmp(value, "/dev/", 5) ? NULL : strchr(value, ' ');
    if (rest) {
        snprintf(numbered, sizeof numbered, "%.*s", (int)(rest - value), value);
        if (stat(numbered, &device)) {
            fault_path = path;
            return errno;
        }
        snprintf(numbered, sizeof numbered, "%u:%u%s", major(device.st_rdev), minor(device.st_rdev), rest);
        value = numbered;
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        fault_path = path;
        return errno;
    }
    ssize_t put = write(fd, value, strlen(value));
    int error = put < 0 ? errno : 0;
    close(fd);
    if (error) fault_path = path;
    return error;
}

/* What is used stays from its first use on; the program itself is brought in now. Data and stack that
 * are never used are not, since every task would be counted as holding them. */
int lock_memory(bool later) {
    extern const char __executable_start, etext;
    if (mlockall(MCL_CURRENT | MCL_ONFAULT | (later ? MCL_FUTURE : 0))) return -1;
    for (const char *at = &__executable_start; at < &etext; at += PAGE) (void)*(const volatile char *)at;
    return 0;
}
