#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (getpid() == 1) guest_main();
    if (count == 2 && strcmp(words[1], "host") == 0) return host_main();
    fprintf(stderr, "usage: %s host < plan\n", words[0]);
    return 2;
}
