/* Plans: n, i42;, f0.5;, s3:abc, l...e, d<key><value>...e. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent.h"

#define PIECE (256 << 10)

void *lasting(size_t size) {
    static char *piece;
    static size_t left;
    size = (size + 15) & ~(size_t)15;
    if (size > left) {
        size_t room = size > PIECE ? (size + PAGE - 1) & ~(size_t)(PAGE - 1) : PIECE;
        char *made = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (made == MAP_FAILED) {
            fprintf(stderr, "the agent gets no memory\n");
            exit(1);
        }
        piece = made;
        left = room;
    }
    void *given = piece;
    piece += size;
    left -= size;
    return given;
}

struct cursor {
    const char *at, *end;
};

static void bad(const char *what) {
    fprintf(stderr, "unreadable plan: %s\n", what);
    exit(1);
}

static const char *until(struct cursor *cursor, char mark, char *buffer, size_t size) {
    size_t used = 0;
    while (cursor->at < cursor->end && *cursor->at != mark && used + 1 < size)
        buffer[used++] = *cursor->at++;
    if (cursor->at == cursor->end || *cursor->at != mark) bad("a number without its end");
    cursor->at++;
    buffer[used] = 0;
    return buffer;
}

static struct node *parse(struct cursor *cursor);

static void parse_items(struct cursor *cursor, struct node *node) {
    struct node **items = NULL;
    size_t count = 0, room = 0;
    while (true) {
        if (cursor->at == cursor->end) bad("a list without its end");
        if (*cursor->at == 'e') break;
        if (count == room) {
            room = room ? 2 * room : 16;
            items = realloc(items, room * sizeof *items);
            if (items == NULL) bad("no memory");
        }
        items[count++] = parse(cursor);
    }
    cursor->at++;
    node->length = count;
    node->items = lasting(count * sizeof *items + 1);
    if (count) memcpy(node->items, items, count * sizeof *items);
    free(items);
}

static struct node *parse(struct cursor *cursor) {
    char buffer[64];
    struct node *node = lasting(sizeof *node);
    if (cursor->at == cursor->end) bad("it ends early");
    switch (*cursor->at++) {
    case 'n': node->kind = NONE; break;
    case 'i':
        node->kind = INTEGER;
        node->integer = strtoll(until(cursor, ';', buffer, sizeof buffer), NULL, 10);
        node->real = (double)node->integer;
        break;
    case 'f':
        node->kind = REAL;
        node->real = strtod(until(cursor, ';', buffer, sizeof buffer), NULL);
        node->integer = (long long)node->real;
        break;
    case 's': {
        node->kind = TEXT;
        node->length = strtoull(until(cursor, ':', buffer, sizeof buffer), NULL, 10);
        if (node->length > (size_t)(cursor->end - cursor->at)) bad("a text is cut");
        char *copy = lasting(node->length + 1);
        memcpy(copy, cursor->at, node->length);
        node->text = copy;
        cursor->at += node->length;
        break;
    }
    case 'l': node->kind = LIST; parse_items(cursor, node); break;
    case 'd':
        node->kind = MAP;
        parse_items(cursor, node);
        if (node->length % 2) bad("a key without a value");
        break;
    default: bad("an unknown kind of value");
    }
    return node;
}

struct node *parse_plan(const char *data, size_t size) {
    struct cursor cursor = {data, data + size};
    struct node *plan = parse(&cursor);
    if (plan->kind != MAP || cursor.at != cursor.end) bad("expected one map");
    return plan;
}

struct node *find(const struct node *map, const char *key) {
    for (size_t i = 0; i + 1 < map->length; i += 2)
        if (map->items[i]->kind == TEXT && strcmp(map->items[i]->text, key) == 0)
            return map->items[i + 1]->kind == NONE ? NULL : map->items[i + 1];
    return NULL;
}

struct node *get(const struct node *map, const char *key) {
    struct node *found = find(map, key);
    if (found == NULL) {
        fprintf(stderr, "unreadable plan: %s is missing\n", key);
        exit(1);
    }
    return found;
}

long long whole(const struct node *map, const char *key) { return get(map, key)->integer; }

double number(const struct node *map, const char *key, double otherwise) {
    struct node *found = find(map, key);
    return found == NULL ? otherwise : found->real;
}

const char *text(const struct node *map, const char *key) {
    struct node *found = get(map, key);
    return found->text ? found->text : "";
}

bool truth(const struct node *map, const char *key) {
    struct node *found = find(map, key);
    return found != NULL && (found->kind <= REAL ? found->real != 0 : found->length > 0);
}
