/* A ring under a mutex, and a wake fd. The fd is signalled exactly while the box holds mail (both change
 * under the mutex), so a taker that blocks just polls it: one way to wait, the same for threads with and
 * without an event loop, and no condition variable with its own clock. */
#include "base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/wake.h"

struct mailbox {
    pthread_mutex_t lock;
    struct wake wake;
    size_t capacity, first, count; /* under lock, as is mail[] */
    void *mail[];
};

enum err mailbox_open(size_t capacity, struct mailbox **ret) {
    must(capacity > 0 && capacity <= (SIZE_MAX - sizeof(struct mailbox)) / sizeof(void *));
    struct mailbox *mb = mem_alloc(sizeof *mb + capacity * sizeof(void *));
    if (!mb) return ERR_NOMEM;
    enum err err = wake_open(&mb->wake);
    if (err) {
        mem_free(mb);
        return err;
    }
    must(pthread_mutex_init(&mb->lock, NULL) == 0);
    mb->capacity = capacity;
    *ret = mb;
    return ERR_OK;
}

void mailbox_free(struct mailbox *mb) {
    if (!mb) return;
    pthread_mutex_destroy(&mb->lock);
    wake_close(&mb->wake);
    mem_free(mb);
}

enum err mailbox_post(struct mailbox *mb, void *mail) {
    must(mail);
    enum err err = ERR_QUEUE_FULL;
    must(pthread_mutex_lock(&mb->lock) == 0);
    if (mb->count < mb->capacity) {
        mb->mail[(mb->first + mb->count) % mb->capacity] = mail;
        if (mb->count++ == 0) wake_signal(&mb->wake);
        err = ERR_OK;
    }
    must(pthread_mutex_unlock(&mb->lock) == 0);
    return err;
}

static void *take_now(struct mailbox *mb) {
    void *mail = NULL;
    must(pthread_mutex_lock(&mb->lock) == 0);
    if (mb->count > 0) {
        mail = mb->mail[mb->first];
        mb->first = (mb->first + 1) % mb->capacity;
        if (--mb->count == 0) wake_clear(&mb->wake);
    }
    must(pthread_mutex_unlock(&mb->lock) == 0);
    return mail;
}

/* Milliseconds for poll(), rounded up so that a wait never ends early; -1 for ever. */
static int poll_ms(int64_t left_ns) {
    int64_t ms = (left_ns + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 1000000 ? 1000000 : (int)ms;
}

void *mailbox_take(struct mailbox *mb, int64_t timeout_ns) {
    int64_t start_ns = timeout_ns > 0 ? clock_now_ns() : 0;
    for (;;) {
        void *mail = take_now(mb);
        if (mail || timeout_ns == 0) return mail;
        int wait_ms = -1;
        if (timeout_ns > 0) {
            int64_t left_ns = timeout_ns - (clock_now_ns() - start_ns);
            if (left_ns <= 0) return NULL;
            wait_ms = poll_ms(left_ns);
        }
        struct pollfd p = {.fd = mb->wake.read_fd, .events = POLLIN};
        must(poll(&p, 1, wait_ms) >= 0 || errno == EINTR);
    }
}

int mailbox_fd(const struct mailbox *mb) {
    return mb->wake.read_fd;
}

size_t mailbox_count(const struct mailbox *mb) {
    struct mailbox *m = (struct mailbox *)(uintptr_t)mb; /* locking changes nothing that a caller sees */
    must(pthread_mutex_lock(&m->lock) == 0);
    size_t count = m->count;
    must(pthread_mutex_unlock(&m->lock) == 0);
    return count;
}
