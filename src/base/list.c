#include "base/list.h"

#include "base/must.h"

void list_init(struct list *l) {
    l->head.prev = l->head.next = &l->head;
    l->count = 0;
}

static void insert_between(struct list *l, struct list_node *n, struct list_node *prev,
                           struct list_node *next) {
    must(!list_linked(n));
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
    l->count++;
}

void list_push_back(struct list *l, struct list_node *n) {
    insert_between(l, n, l->head.prev, &l->head);
}

void list_push_front(struct list *l, struct list_node *n) {
    insert_between(l, n, &l->head, l->head.next);
}

void list_insert_after(struct list *l, struct list_node *n, struct list_node *prev) {
    prev = prev ? prev : &l->head;
    insert_between(l, n, prev, prev->next);
}

void list_remove(struct list *l, struct list_node *n) {
    must(list_linked(n) && l->count > 0);
    must(n->prev->next == n && n->next->prev == n);
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
    l->count--;
}

bool list_linked(const struct list_node *n) {
    return n->next != NULL;
}

struct list_node *list_first(const struct list *l) {
    return l->head.next == &l->head ? NULL : l->head.next;
}

struct list_node *list_next(const struct list *l, const struct list_node *n) {
    return n->next == &l->head ? NULL : n->next;
}

struct list_node *list_last(const struct list *l) {
    return l->head.prev == &l->head ? NULL : l->head.prev;
}

struct list_node *list_prev(const struct list *l, const struct list_node *n) {
    return n->prev == &l->head ? NULL : n->prev;
}
