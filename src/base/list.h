/* list.h - an intrusive doubly linked list with a head node. A zeroed node is in no list. Thread: the owner's. */
#ifndef HOTSEAT_BASE_LIST_H
#define HOTSEAT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct list_node {
    struct list_node *prev, *next;
};
struct list {
    struct list_node head;
    size_t count;
};

void list_init(struct list *l);
void list_push_back(struct list *l, struct list_node *n); /* n must be in no list */
void list_push_front(struct list *l, struct list_node *n);
void list_insert_after(struct list *l, struct list_node *n,
                       struct list_node *prev);        /* prev is in l; NULL: at the beginning */
void list_remove(struct list *l, struct list_node *n); /* n must be in l */
bool list_linked(const struct list_node *n);
struct list_node *list_first(const struct list *l);                           /* NULL when empty */
struct list_node *list_next(const struct list *l, const struct list_node *n); /* NULL after the last */
struct list_node *list_last(const struct list *l);                            /* NULL when empty */
struct list_node *list_prev(const struct list *l, const struct list_node *n); /* NULL before the first */

#define LIST_ENTRY(node, type, member) ((node) ? CONTAINER_OF(node, type, member) : NULL)
/* The entry may be removed from the list inside the loop. */
#define LIST_EACH(l, type, member, it)                                                                       \
    for (type *it = LIST_ENTRY(list_first(l), type, member),                                                 \
              *it##_next_ = it ? LIST_ENTRY(list_next(l, &it->member), type, member) : NULL;                 \
         it; it = it##_next_, it##_next_ = it ? LIST_ENTRY(list_next(l, &it->member), type, member) : NULL)

#endif
