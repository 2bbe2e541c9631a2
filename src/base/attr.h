/* attr.h - the compiler attributes the code uses, by name. */
#ifndef HOTSEAT_BASE_ATTR_H
#define HOTSEAT_BASE_ATTR_H

#define NODISCARD __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define UNUSED __attribute__((unused))

/* A local that owns: AUTO(buf_freep) struct buf *b; the cleanup gets the variable's address. */
#define AUTO(cleanup_fn) __attribute__((cleanup(cleanup_fn)))

/* Hands ownership over: the variable becomes NULL, its old value is the expression's. */
#define TAKE(p)                                                                                              \
    __extension__({                                                                                          \
        __typeof__(p) take_value_ = (p);                                                                     \
        (p) = NULL;                                                                                          \
        take_value_;                                                                                         \
    })

/* The text of what a macro stands for: NUMERAL(STOPS_MAX) is "16". */
#define NUMERAL(macro) NUMERAL_TEXT(macro)
#define NUMERAL_TEXT(value) #value

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
