/* The memory cgroups of a run: made before it, removed after it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent.h"

#define MARK "trusted.oomkit" /* an attribute that only root can set */
#define REMOVAL_S 10.0

int groups_make(const struct node *groups) {
    for (size_t i = 0; i < groups->length; i++) {
        const struct node *group = groups->items[i], *files = get(group, "files");
        const char *path = text(group, "path");
        if (find(group, "made") == NULL && mkdir(path, 0777)) {
            fault_path = path;
            return errno;
        }
        const struct node *mark = find(group, "mark");
        /* Where it is not allowed, the group is not taken for a run's. */
        if (mark) setxattr(path, MARK, mark->text, mark->length, 0);
        for (size_t f = 0; f < files->length; f++) {
            static char file[4096];
            snprintf(file, sizeof file, "%s/%s", path, files->items[f]->items[0]->text);
            int error = write_file_text(file, files->items[f]->items[1]->text);
            if (error) return error;
        }
    }
    return 0;
}

static void kill_members(const char *path) {
    char procs[4096], line[64];
    snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
    FILE *file = fopen(procs, "re");
    if (file == NULL) return;
    while (fgets(line, sizeof line, file)) {
        pid_t pid = (pid_t)strtol(line, NULL, 10);
        if (pid > 0) kill(pid, SIGKILL);
    }
    fclose(file);
}

static int longer_first(const void *a, const void *b) {
    size_t one = strlen(*(const char *const *)a), other = strlen(*(const char *const *)b);
    return one < other ? 1 : one > other ? -1 : 0;
}

/* A v1 group whose OOM killer is off holds its tasks in a wait that a fatal signal ends. */
size_t groups_remove(const struct node *groups, const char **left) {
    size_t count = 0;
    struct stat found;
    for (size_t i = 0; i < groups->length; i++) {
        const char *path = text(groups->items[i], "path");
        if (stat(path, &found) == 0) left[count++] = path;
    }
    qsort(left, count, sizeof *left, longer_first); /* the innermost first */
    double end = now_s() + REMOVAL_S;
    while (count > 0 && now_s() < end) {
        for (size_t i = 0; i < count; i++) kill_members(left[i]);
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (rmdir(left[i]) && errno != ENOENT) left[kept++] = left[i];
        count = kept;
        if (count) rest_s(0.02);
    }
    return count;
}
