/* The agent as process 1 of a guest, or a service of systemd in it: makes the machine ready, plays the plan in /plan. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"

#define PORT "/dev/vport0p1"
#define ZRAM "/dev/zram0"
#define PREFER (SWAP_FLAG_PREFER | 100) /* a priority above the disk's */
#define TRACING "/sys/kernel/tracing"
#define QUIET_LOOKS 10 /* in a row that must find nothing else running */
#define CHUNK (1 << 20)

static int port = -1;

static void sleep_for_ever(void) {
    while (true) pause();
}

static void give_up(int error, const char *where) {
    char line[300];
    int size = snprintf(line, sizeof line, "failed 0 %d %s\n", error, where);
    write_all(port >= 0 ? port : 2, line, (size_t)size);
    sleep_for_ever();
}

static void check(int result, const char *where) {
    if (result < 0) give_up(errno, where);
}

static void put(const char *path, const char *value) {
    int error = write_file_text(path, value);
    if (error) give_up(error, path);
}

static void attach(const char *source, const char *target, const char *kind, unsigned long flags, const char *data) {
    if (mkdir(target, 0755) && errno != EEXIST) give_up(errno, target);
    /* Where systemd is process 1 it is there. */
    if (mount(source, target, kind, flags, data) && errno != EBUSY) give_up(errno, target);
}

/* Give a device ten seconds to appear. */
static const char *wait_for(const char *path) {
    for (int i = 0; i < 1000 && access(path, F_OK); i++) rest_s(0.01);
    return path;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void insert_modules(void) {
    char *names[64], path[300];
    size_t count = 0;
    DIR *directory = opendir("/modules");
    if (directory == NULL) return;
    for (struct dirent *one; count < 64 && (one = readdir(directory));)
        if (one->d_name[0] != '.') names[count++] = strdup(one->d_name);
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/modules/%s", names[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        check(fd, path);
        check((int)syscall(SYS_finit_module, fd, "", 0), path);
        close(fd);
        unlink(path);
        free(names[i]);
    }
}

static struct node *read_plan(void) {
    struct stat found;
    int fd = open("/plan", O_RDONLY | O_CLOEXEC);
    check(fd, "/plan");
    check(fstat(fd, &found), "/plan");
    char *body = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (body == MAP_FAILED) give_up(errno, "/plan");
    struct node *plan = parse_plan(body, (size_t)found.st_size);
    munmap(body, (size_t)found.st_size);
    close(fd);
    unlink("/plan");
    return plan;
}

/* Write a file whose blocks exist; holes would be read without the disk. */
static void fill(const char *path, long long size) {
    char *chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    check(fd, path);
    memset(chunk, 1, CHUNK);
    fchmod(fd, 0666);
    for (; size > 0; size -= CHUNK) {
        int error = write_all(fd, chunk, size < CHUNK ? (size_t)size : CHUNK);
        if (error) give_up(error, path);
    }
    close(fd);
    munmap(chunk, CHUNK);
}

static void set_up_disk(const struct node *guest) {
    attach(wait_for(text(guest, "disk")), "/disk", "ext4", MS_NOATIME, NULL);
    chmod("/disk", 0777);
    const struct node *files = get(guest, "files");
    for (size_t i = 0; i < files->length; i++) {
        char path[512];
        snprintf(path, sizeof path, "/disk/%s", files->items[i]->items[0]->text);
        fill(path, files->items[i]->items[1]->integer);
    }
    sync();
    put("/proc/sys/vm/drop_caches", "3");
}

/* A swap area in compressed memory, behind the page of its header. */
static void add_zram(long long size) {
    static char page[PAGE];
    char value[32];
    uint32_t head[] = {1, (uint32_t)(size / PAGE), 0};
    snprintf(value, sizeof value, "%lld", size + PAGE);
    put("/sys/block/zram0/disksize", value);
    memcpy(page + 1024, head, sizeof head);
    memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
    int fd = open(wait_for(ZRAM), O_WRONLY | O_CLOEXEC);
    check(fd, ZRAM);
    int error = write_all(fd, page, PAGE);
    if (error) give_up(error, ZRAM);
    fsync(fd);
    close(fd);
    check(swapon(ZRAM, PREFER), ZRAM);
}

static void prepare(const struct node *guest) {
    if (*text(guest, "cgroup")) {
        attach("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
        put("/sys/fs/cgroup/cgroup.subtree_control", text(guest, "cgroup"));
    }
    if (truth(guest, "cgroup1")) {
        attach("tmpfs", "/cgroup", "tmpfs", 0, NULL);
        attach("cgroup", "/cgroup/memory", "cgroup", 0, "memory");
    }
    if (find(guest, "disk")) set_up_disk(guest);
    if (find(guest, "swap")) check(swapon(wait_for(text(guest, "swap")), 0), text(guest, "swap"));
    if (whole(guest, "zram") > 0) add_zram(whole(guest, "zram"));
    if (truth(guest, "beats") && access(TRACING, F_OK) == 0) attach("tracefs", TRACING, "tracefs", 0, NULL);
    /* The watcher must see and report what happens while there is no memory. */
    check(lock_memory(true), "mlockall");
}

/* Let the kernel end what it still does after its boot, half a minute at most. From 7.x on its
 * threads keep a CPU busy for some seconds, and a fault takes three times as long. */
static void wait_until_quiet(void) {
    static char *stat;
    int quiet = 0;
    stat = lasting(64 << 10);
    for (int i = 0; i < 1500 && quiet < QUIET_LOOKS; i++) {
        read_whole("/proc/stat", stat, 64 << 10);
        quiet = keyed(stat, "procs_running", 0) == 1 ? quiet + 1 : 0; /* the one is this process */
        rest_s(0.02);
    }
}

/* Never returns: as process 1 that would panic the guest. */
void guest_main(void) {
    char go;
    umask(022);
    attach("proc", "/proc", "proc", 0, NULL);
    attach("sysfs", "/sys", "sysfs", 0, NULL);
    attach("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    attach("tmpfs", "/tmp", "tmpfs", 0, "size=0"); /* no limit of its own: scenarios fill memory with it */
    /* What is forked and is no task must not be chosen; tasks and the companion set their own. */
    put("/proc/self/oom_score_adj", "-1000");
    insert_modules();
    struct node *plan = read_plan();
    port = open(wait_for(PORT), O_RDWR | O_CLOEXEC);
    check(port, PORT);
    prepare(get(plan, "guest"));
    wait_until_quiet();
    say(port, "ready", "%s", "");
    while (read(port, &go, 1) < 0 && errno == EINTR) {} /* the host slows the disk down now */
    beside_begin(port, plan);
    watch(plan, port, -1, true);
    sleep_for_ever();
}
