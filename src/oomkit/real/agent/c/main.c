#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (getpid() == 1 || (count == 2 && strcmp(words[1], "guest") == 0)) guest_main();
    if (count == 2 && strcmp(words[1], "host") == 0) return host_main();
    fprintf(stderr, "usage: %s host < plan, or in a guest: %s guest\n", words[0], words[0]);
    return 2;
}
