/* What the watcher reads ten times a second: memory, pressure, CPUs, and its tasks. Files stay open,
 * so that a look allocates nothing and costs little. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

#define BUFFER (64 << 10)
#define UNKNOWN (-1.0)
#define NAMES 8

static struct {
    int report, meminfo, pressure, cpu, usage, stat, swap;
    const struct slot *slots;
    const struct node *group; /* NULL: the whole machine */
    bool swaps;
    const struct node *lines; /* of meminfo, beside the usual */
    double tick_s;
    long long total, idle;
    char *buffer;
} sampler;

ssize_t read_again(int fd, char *buffer, size_t size) {
    ssize_t got = fd < 0 ? -1 : pread(fd, buffer, size - 1, 0);
    buffer[got > 0 ? got : 0] = 0;
    return got;
}

ssize_t read_whole(const char *path, char *buffer, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = read_again(fd, buffer, size);
    if (fd >= 0) close(fd);
    return got;
}

/* The number behind a key that begins a line. */
long long keyed(const char *text, const char *key, long long otherwise) {
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, length) == 0 && (line[length] == ':' || line[length] == ' ' || line[length] == '\t'))
            return strtoll(line + length + 1, NULL, 10);
    return otherwise;
}

static int opened(const struct node *files, const char *name) {
    const struct node *path = find(files, name);
    return path ? open(path->text, O_RDONLY | O_CLOEXEC) : -1;
}

void sampler_begin(int report, const struct slot *slots, const struct node *sources) {
    const struct node *files = get(sources, "files");
    sampler.report = report;
    sampler.slots = slots;
    sampler.group = find(sources, "cgroup");
    sampler.swaps = truth(sources, "swap");
    sampler.lines = get(sources, "lines");
    sampler.meminfo = opened(files, "meminfo");
    sampler.pressure = opened(files, "pressure");
    sampler.cpu = opened(files, "cpu");
    sampler.usage = opened(files, "usage");
    sampler.stat = opened(files, "stat");
    sampler.swap = opened(files, "swap");
    sampler.tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    sampler.buffer = lasting(BUFFER);
}

static long long read_number(int fd) {
    return read_again(fd, sampler.buffer, BUFFER) > 0 ? strtoll(sampler.buffer, NULL, 10) : 0;
}

static long long summed(const struct node *names) {
    long long sum = 0;
    for (size_t i = 0; i < names->length; i++) sum += keyed(sampler.buffer, names->items[i]->text, 0);
    return sum;
}

/* The group's limit is its machine: what is left of it is free. */
static void read_group(double values[5]) {
    long long limit = whole(sampler.group, "limit"), used = read_number(sampler.usage);
    long long swap = whole(sampler.group, "swap") - read_number(sampler.swap);
    const struct node *names = get(sampler.group, "names");
    read_again(sampler.stat, sampler.buffer, BUFFER);
    /* v1 counts memory and swap together. */
    if (whole(sampler.group, "version") == 1)
        swap = whole(sampler.group, "swap") - keyed(sampler.buffer, "total_swap", 0);
    long long left = limit > used ? limit - used : 0;
    values[0] = (double)left;
    values[1] = (double)(left + summed(get(names, "file")));
    values[2] = (double)summed(get(names, "cache"));
    values[3] = (double)(swap > 0 ? swap : 0);
    values[4] = (double)limit;
    for (int i = 0; i < 5; i++) values[i] /= MB;
}

static void read_memory(double values[5]) {
    static const char *const keys[] = {"MemFree", "MemAvailable", "Cached", "SwapFree", "MemTotal"};
    read_again(sampler.meminfo, sampler.buffer, 4096);
    for (int i = 0; i < 5; i++) values[i] = (double)keyed(sampler.buffer, keys[i], 0) / 1024;
}

static void read_pressure(double values[2]) {
    values[0] = values[1] = UNKNOWN;
    if (read_again(sampler.pressure, sampler.buffer, 4096) <= 0) return;
    static const char *const lines[] = {"some avg10=", "full avg10="};
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(sampler.buffer, lines[i]);
        if (at) values[i] = strtod(at + strlen(lines[i]), NULL);
    }
}

static double read_busy(void) {
    long long total = 0, idle = 0;
    if (read_again(sampler.cpu, sampler.buffer, 1024) <= 0) return 0;
    char *at = sampler.buffer + 3;
    for (int i = 0; i < 8; i++) {
        long long value = strtoll(at, &at, 10);
        total += value;
        if (i == 3 || i == 4) idle += value;
    }
    long long spent = total - sampler.total, idled = idle - sampler.idle;
    sampler.total = total;
    sampler.idle = idle;
    return spent > 0 ? 1 - (double)idled / (double)spent : 0;
}

/* Further lines of meminfo, in MB. */
static void say_lines(void) {
    char said[160] = "";
    size_t used = 0;
    read_again(sampler.meminfo, sampler.buffer, 4096);
    for (size_t i = 0; i < sampler.lines->length && used < sizeof said - 16; i++)
        used += (size_t)snprintf(said + used, sizeof said - used, i ? " %.2f" : "%.2f",
                                 (double)keyed(sampler.buffer, sampler.lines->items[i]->text, 0) / 1024);
    say(sampler.report, "lines", "%s", said);
}

void sampler_machine(void) {
    double memory[5], pressure[2];
    if (sampler.group) read_group(memory);
    else read_memory(memory);
    read_pressure(pressure);
    say(sampler.report, "sample", "%.2f %.2f %.2f %.2f %.2f %.2f %.2f %.3f", memory[0], memory[1],
        memory[2], memory[3], memory[4], pressure[0], pressure[1], read_busy());
    if (sampler.lines->length) say_lines();
}

void sampler_open(struct sampled *task) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", task->pid);
    task->stat = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/status", task->pid);
    task->status = sampler.swaps ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

void sampler_close(struct sampled *task) {
    if (task->stat >= 0) close(task->stat);
    if (task->status >= 0) close(task->status);
    task->stat = task->status = -1;
}

void sampler_task(const struct sampled *task) {
    long long swap_kb = 0, user = 0, system = 0, rss = 0;
    if (read_again(task->stat, sampler.buffer, 4096) <= 0) return;
    char *at = strrchr(sampler.buffer, ')');
    if (at == NULL) return;
    /* Behind the name: state is field 3, utime 14, stime 15, rss 24 (proc_pid_stat(5)). */
    at += 3;
    for (int field = 4; field <= 24 && *at; field++) {
        long long value = strtoll(at + 1, &at, 10);
        if (field == 14) user = value;
        if (field == 15) system = value;
        if (field == 24) rss = value;
    }
    if (sampler.swaps) {
        if (read_again(task->status, sampler.buffer, 8192) <= 0) return;
        swap_kb = keyed(sampler.buffer, "VmSwap", 0);
    }
    struct slot slot = sampler.slots[task->slot];
    say(sampler.report, "task", "%d %.3f %.3f %.2f %g %.4f", task->pid, (double)rss * 4096 / MB,
        (double)swap_kb / 1024, (double)(user + system) * sampler.tick_s, slot.loop, slot.at);
}
