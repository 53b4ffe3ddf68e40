/* The workload agent as a static program: the same plans and the same reports as the Python one.
 *
 * What it holds counts against every task it forks and against the machine it measures, so plans
 * and buffers are in shared mappings, whose page tables fork() does not copy. */
#ifndef OOMKIT_AGENT_H
#define OOMKIT_AGENT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096
#define MB (1 << 20)
#define FOREVER (-1.0) /* in a slot: a step that never ends by itself */
#define FORKS 4096     /* slots reserved for forked copies */

/* tree.c: plans */
enum kind { NONE, INTEGER, REAL, TEXT, LIST, MAP };
struct node {
    enum kind kind;
    long long integer;
    double real;
    const char *text; /* ends with a 0 byte */
    size_t length;    /* bytes of a text, items of a list, keys and values of a map */
    struct node **items;
};
void *lasting(size_t size); /* zeroed, shared with children, never freed */
struct node *parse_plan(const char *data, size_t size);
struct node *get(const struct node *map, const char *key);
struct node *find(const struct node *map, const char *key); /* NULL: not there, or none */
long long whole(const struct node *map, const char *key);
double number(const struct node *map, const char *key, double otherwise);
const char *text(const struct node *map, const char *key);
bool truth(const struct node *map, const char *key);

/* report.c: lines to the process that started the agent */
double now_s(void);
double used_s(int clock);
void rest_s(double seconds);
void say(int fd, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));
void hold_lines(int fd); /* until they are released */
void release_lines(void);
int write_all(int fd, const char *data, size_t size); /* 0 or an errno */
int write_file_text(const char *path, const char *value); /* 0 or an errno; sets fault_path */
int lock_memory(bool later); /* also what is mapped later; below 0: errno says why not */
extern const char *fault_path; /* of the last error */

/* memory.c */
struct area {
    char *map;
    size_t size, used;
    size_t seen; /* how far it was only read */
    size_t lazy; /* up to here from "used" on it was freed lazily, where that is above */
    bool anon;   /* private anonymous memory, which "free" gives back */
    bool shared; /* reserved for "share" */
};
struct memory {
    struct area *areas;
    size_t count, room;
    int thp; /* 0: no huge pages, 1: as the machine has it, 2: asks for them */
    const char *filler; /* FILLER bytes that are written into it; NULL: a byte a page */
};
#define FILLER (64 << 10)
struct file_area {
    char *map;
    size_t size;
};
struct pace {
    size_t total, slice, at;
    double rate, due;
    bool begun;
};
void pace_begin(struct pace *pace, size_t total, double rate, size_t largest, size_t unit);
bool pace_next(struct pace *pace, size_t *start, size_t *end);
typedef void progress_call(void *of, double share);
struct progress {
    progress_call *call;
    void *of;
};
/* These return 0 or an errno. */
int memory_reserve(struct memory *memory, size_t size, bool shared);
enum way { TOUCH, PEEK, SHARE };
int memory_go_over(struct memory *memory, enum way way, size_t size, double rate, size_t stride,
                   struct progress to);
int memory_lock(struct memory *memory, size_t size, double rate, struct progress to);
int memory_hugetlb(size_t size, double rate, struct progress to);
int memory_scatter(struct memory *memory, size_t size, int threads, bool shared);
int memory_free(struct memory *memory, long long size); /* below 0: all of it */
int memory_free_lazily(struct memory *memory, long long size);
void area_touch(struct memory *memory, struct area *area, size_t start, size_t end, size_t stride);
int file_area_open(struct file_area *area, const char *path);
void file_area_run_through(struct file_area *area);
int read_file(const char *path, size_t size, double rate, struct progress to);
int put_file(const char *path, size_t size, double rate, struct progress to, const char *content);
int begin_thread(void *(*call)(void *), void *of);

/* task.c */
struct slot {
    double loop, at; /* loops done, or FOREVER; position in its steps */
};
struct world {
    int report;
    struct slot *slots;
    const char *files, *tmpfs;
    long fork_slots; /* first slot free for forked copies */
    const char *filler;
};
pid_t spawn(const struct world *world, const struct node *plan); /* below 0: -errno */

/* groups.c: memory cgroups */
int groups_make(const struct node *groups); /* 0 or an errno */
size_t groups_remove(const struct node *groups, const char **left); /* how many stay */

/* samples.c */
struct sampled {
    pid_t pid;
    long slot;
    int stat, status; /* files of the process that stay open; below 0: none */
};
void sampler_begin(int report, const struct slot *slots, const struct node *sources);
void sampler_machine(void);
void sampler_open(struct sampled *task);
void sampler_close(struct sampled *task);
void sampler_task(const struct sampled *task);
long long keyed(const char *text, const char *key, long long otherwise);
ssize_t read_again(int fd, char *buffer, size_t size);
ssize_t read_whole(const char *path, char *buffer, size_t size);

/* measure.c: what the machine is worth */
void measure_machine(int report, int rounds, bool cpus);
void measure_costs(int report, const struct node *plan);
void measure_weight(const struct world *world, int report, const struct node *plan);
void report_cost(int report);

/* beside.c and heartbeat.c: what runs in a guest beside the scenario */
struct stream {
    int fd;
    void (*take)(char *line);
    char *rest;
    size_t held;
};
void beside_begin(int report, const struct node *plan);
size_t beside_streams(struct stream **streams);
bool beside_hear(struct stream *stream); /* false: it has ended */
pid_t beside_pid(void);
void beside_report(void);
void beside_close(void);
void lanes_begin(const char *programs, double low_share);
void lanes_start(void);
void lanes_report(int report);
void lanes_close(int report);

/* probe.c */
int probe_begin(const struct node *given, const char *programs); /* 0 or an errno */
void probe_start(double t0);
void probe_report(int report);

/* watch.c */
enum { WATCH_DONE, WATCH_STOPPED, WATCH_FAILED };
extern volatile sig_atomic_t stop_asked;
int watch(const struct node *plan, int out, int control, bool beside);
void watch_end(void);

/* host.c, guest.c */
int host_main(void);
void guest_main(void);

#endif
