#include "front/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/gguf_parts.h"

#define JOBS_MAX 16
#define END_LIMIT_NS (2 * NS_PER_S)

/* LEFT BEHIND. A disk that does not answer keeps the thread inside a system call for as long as it likes, and the end of the
 * process must not wait for it. So scan_free() gives up after a while, and the thread stays, with the scan and all it holds,
 * until the process ends in a moment. Whatever it hands to others it hands over under the lock, and only while they are there. */

struct scan_section {
    char *name, *path, *template_name;
};
struct scan_memory { /* what gguf_info said about one state of one file */
    char *path;
    struct file_identity identity;
    enum err err;
    char reason[320];
    struct gguf_info info;
    bool used; /* in this run */
};
struct scan_mail {
    void (*fn)(void *arg), (*done)(void *arg); /* NULL: look again */
    void *arg;
    bool stop;
};
struct scan {
    char **folders;
    uint32_t n_folders;
    struct scan_section *sections;
    uint32_t n_sections;
    struct scan_memory *memory;
    uint32_t n_memory;
    struct mailbox *jobs;
    pthread_t thread;
    bool started;
    _Atomic bool asked; /* a look is in the mailbox or under way */
    _Atomic bool ended;
    pthread_mutex_t lock;
    bool left; /* under lock: LEFT BEHIND */
    void (*post)(void *ctx, struct scan_result *result);
    void *ctx;
};

static void found_clear(struct scan_found *f) {
    mem_free(f->id);
    mem_free(f->path);
    mem_free(f->template_source);
}

void scan_result_free(struct scan_result *r) {
    if (!r) return;
    for (uint32_t i = 0; i < r->n_found; i++) found_clear(&r->found[i]);
    mem_free(r->found);
    for (uint32_t i = 0; i < r->n_unread; i++) mem_free(r->unread[i]);
    mem_free(r->unread);
    mem_free(r);
}

static void result_freep(struct scan_result **r) {
    scan_result_free(*r);
}

/* ---- reading one file ---- */

static struct scan_memory *memory_of(struct scan *s, const char *path) {
    for (uint32_t i = 0; i < s->n_memory; i++)
        if (!strcmp(s->memory[i].path, path)) return &s->memory[i];
    struct scan_memory *grown = mem_realloc(s->memory, (s->n_memory + 1) * sizeof *grown);
    if (!grown) return NULL;
    s->memory = grown;
    struct scan_memory *m = &s->memory[s->n_memory];
    *m = (struct scan_memory){.path = mem_strdup(path)};
    if (!m->path) return NULL;
    s->n_memory++;
    return m;
}

static void memory_forget_unused(struct scan *s) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n_memory; i++) {
        if (s->memory[i].used)
            s->memory[kept++] = s->memory[i];
        else
            mem_free(s->memory[i].path);
    }
    s->n_memory = kept;
    for (uint32_t i = 0; i < kept; i++) s->memory[i].used = false;
}

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

/* A link that leads nowhere: a disk that is not plugged in. */
static bool is_dead_link(const char *path, char *target, size_t target_size) {
    ssize_t n = exists(path) ? 0 : readlink(path, target, target_size - 1);
    if (n > 0) target[n] = '\0';
    return n > 0;
}

/* Of a path that can't be found: it, or one of its parts, is a dead link, or other parts of the split are there. */
static bool is_missing_in_part(const char *path, char *reason, size_t reason_size) {
    char target[241]; /* as much of it as a reason has room for */
    uint32_t n_parts = gguf_parts_count(path, NULL), missing = 0;
    bool some = false;
    for (uint32_t i = 1; i <= n_parts; i++) {
        AUTO(mem_freep) char *part = gguf_parts_path(path, i);
        if (part && exists(part))
            some = true;
        else if (!missing)
            missing = i;
    }
    AUTO(mem_freep) char *first_missing = missing ? gguf_parts_path(path, missing) : NULL;
    if (!first_missing) return false;
    bool dead_link = is_dead_link(first_missing, target, sizeof target);
    if (dead_link && n_parts == 1)
        snprintf(reason, reason_size, "it is a link to %s, which is not there", target);
    else if (dead_link)
        snprintf(reason, reason_size, "part %u of %u is a link to %s, which is not there", missing, n_parts,
                 target);
    else
        snprintf(reason, reason_size, "part %u of %u is missing: %s", missing, n_parts, first_missing);
    return dead_link || some;
}

static enum err file_look(struct scan *s, const char *path, struct scan_found *f) {
    struct scan_memory *m = memory_of(s, path);
    if (!m) return ERR_NOMEM;
    struct file_identity now = {0};
    enum err err = file_identity_of(path, &now);
    if (err == ERR_NOMEM) return err;
    if (err) {
        f->err = err;
        f->missing = err == ERR_NOT_FOUND;
        if (!f->missing)
            snprintf(f->reason, sizeof f->reason, "%s: %s", path, err_text(err));
        else if (is_missing_in_part(path, f->reason, sizeof f->reason))
            f->err = ERR_MODEL_INVALID;
        else
            snprintf(f->reason, sizeof f->reason, "%s: there is no such file", path);
        m->used = true;
        m->identity = (struct file_identity){0};
        return ERR_OK;
    }
    if (!file_identity_equal(&now, &m->identity)) {
        m->reason[0] = '\0';
        m->err = gguf_info_read(path, &m->info, m->reason, sizeof m->reason);
        /* Only what the file itself says is remembered: a lack of memory or a failing disk may be over next
         * time. */
        m->identity = m->err == ERR_OK || m->err == ERR_MODEL_INVALID ? now : (struct file_identity){0};
    }
    m->used = true;
    f->identity = now;
    f->created_s = now.mtime_ns / INT64_C(1000000000);
    f->err = m->err;
    f->info = m->info;
    memcpy(f->reason, m->reason, sizeof f->reason);
    return ERR_OK;
}

bool scan_template_is_file(const char *name) {
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 6 && !strcmp(name + n - 6, ".jinja"));
}

static enum err template_read(const char *path, struct scan_found *f) {
    FILE *file = fopen(path, "re");
    AUTO(mem_freep) char *text = mem_alloc(SCAN_TEMPLATE_BYTES_MAX + 1);
    if (!text) {
        if (file) fclose(file);
        return ERR_NOMEM;
    }
    size_t n = file ? fread(text, 1, SCAN_TEMPLATE_BYTES_MAX + 1, file) : 0;
    bool bad = !file || ferror(file) || n > SCAN_TEMPLATE_BYTES_MAX || !n;
    if (file) fclose(file);
    if (bad) {
        if (!f->err) {
            f->err = ERR_MODEL_INVALID;
            snprintf(f->reason, sizeof f->reason, "template %s can't be read (1 byte to 1 MB)", path);
        }
        return ERR_OK;
    }
    return (f->template_source = mem_strndup(text, n)) ? ERR_OK : ERR_NOMEM;
}

/* ---- one run ---- */

static bool id_allowed(const char *id) {
    size_t n = strlen(id);
    bool ok = n > 0 && n <= MODEL_ID_BYTES_MAX && strcmp(id, "default") && strcmp(id, "none");
    for (size_t i = 0; i < n; i++) ok = ok && (unsigned char)id[i] >= ' ' && id[i] != 0x7f;
    return ok;
}

/* "x.gguf" -> "x"; "x-00001-of-00003.gguf" -> "x", as the other parts; other files: false. */
static bool id_of_file(const char *name, char *room, size_t room_size) {
    size_t n = gguf_parts_stem(name);
    if (n == 0 || n >= room_size || name[0] == '.') return false;
    memcpy(room, name, n);
    room[n] = '\0';
    return true;
}

static const struct scan_section *section_of(const struct scan *s, const char *name) {
    for (uint32_t i = 0; i < s->n_sections; i++)
        if (!strcmp(s->sections[i].name, name)) return &s->sections[i];
    return NULL;
}

static enum err template_look(const struct scan *s, struct scan_found *f) {
    const struct scan_section *section = section_of(s, f->id);
    bool is_file = section && section->template_name && scan_template_is_file(section->template_name);
    return is_file ? template_read(section->template_name, f) : ERR_OK;
}

/* A whole file of this name further on takes the place of a dead link or of parts that lack one. */
static enum err found_replace(struct scan *s, struct scan_found *f, const char *path) {
    struct scan_found whole = {.id = mem_strdup(f->id), .path = mem_strdup(path)};
    enum err err = whole.id && whole.path ? file_look(s, path, &whole) : ERR_NOMEM;
    bool better = !err && !whole.err;
    if (better) err = template_look(s, &whole);
    if (better && !err) {
        struct scan_found broken = *f;
        *f = whole;
        whole = broken;
    }
    found_clear(&whole);
    return err;
}

/* Sections first, then the folders in their order. A section that has a path means that file and no other. */
static enum err found_add(struct scan *s, struct scan_result *r, const char *id, const char *path) {
    for (uint32_t i = 0; i < r->n_found; i++) {
        struct scan_found *f = &r->found[i];
        if (strcmp(f->id, id)) continue;
        const struct scan_section *section = section_of(s, id);
        bool fixed = section && section->path;
        return f->missing && !fixed && strcmp(f->path, path) ? found_replace(s, f, path) : ERR_OK;
    }
    if (r->n_found >= MODELS_MAX) {
        r->limited = true;
        return ERR_OK;
    }
    struct scan_found *grown = mem_realloc(r->found, (r->n_found + 1) * sizeof *grown);
    if (!grown) return ERR_NOMEM;
    r->found = grown;
    struct scan_found *f = &r->found[r->n_found++];
    *f = (struct scan_found){.id = mem_strdup(id), .path = mem_strdup(path)};
    if (!f->id || !f->path) return ERR_NOMEM;
    enum err err = file_look(s, path, f);
    return err ? err : template_look(s, f);
}

static enum err unread_add(struct scan_result *r, const char *folder) {
    char **grown = mem_realloc(r->unread, (r->n_unread + 1) * sizeof *grown);
    if (!grown) return ERR_NOMEM;
    r->unread = grown;
    if (!(r->unread[r->n_unread] = mem_strdup(folder))) return ERR_NOMEM;
    r->n_unread++;
    return ERR_OK;
}

/* What can't be looked at is a model with a reason, and so is a link that leads nowhere; what is no file is none. */
static enum err name_look(struct scan *s, struct scan_result *r, const char *folder, const char *name) {
    char id[300];
    struct stat st;
    if (!id_of_file(name, id, sizeof id) || !id_allowed(id)) return ERR_OK;
    AUTO(mem_freep) char *path = mem_printf("%s/%s", folder, name);
    if (!path) return ERR_NOMEM;
    if (stat(path, &st) ? errno == ENOENT && lstat(path, &st) : !S_ISREG(st.st_mode)) return ERR_OK;
    AUTO(mem_freep) char *first = gguf_parts_path(path, 1);
    return first ? found_add(s, r, id, first) : ERR_NOMEM;
}

static bool is_later_part(const char *name) {
    uint32_t number;
    (void)gguf_parts_count(name, &number);
    return number > 1;
}

static enum err folder_look(struct scan *s, struct scan_result *r, const char *folder) {
    struct dirent **names = NULL;
    int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) {
        bool gone = errno == ENOENT || errno == ENOTDIR; /* it may come */
        static struct log_limit limit = LOG_LIMIT(1);
        if (log_limit_pass(&limit))
            log_warn("models.folder", "folder=%s error=%s", log_q(folder), log_q(strerror(errno)));
        return gone ? ERR_OK : unread_add(r, folder);
    }
    enum err err = ERR_OK;
    for (int i = 0; i < n && !err; i++)
        if (!is_later_part(names[i]->d_name)) err = name_look(s, r, folder, names[i]->d_name);
    for (int i = 0; i < n; i++) { /* these are news only where the first part is missing */
        if (!err && is_later_part(names[i]->d_name)) err = name_look(s, r, folder, names[i]->d_name);
        free(names[i]); /* scandir's own memory */
    }
    free(names);
    return err;
}

static int by_id(const void *a, const void *b) {
    return strcmp(((const struct scan_found *)a)->id, ((const struct scan_found *)b)->id);
}

enum err scan_run(struct scan *s, struct scan_result **ret) {
    *ret = NULL;
    AUTO(result_freep) struct scan_result *r = mem_alloc(sizeof *r);
    if (!r) return ERR_NOMEM;
    enum err err = ERR_OK;
    for (uint32_t i = 0; !err && i < s->n_sections; i++)
        if (s->sections[i].path) err = found_add(s, r, s->sections[i].name, s->sections[i].path);
    for (uint32_t i = 0; !err && i < s->n_folders; i++) err = folder_look(s, r, s->folders[i]);
    if (err) return err;
    memory_forget_unused(s);
    if (r->n_found) qsort(r->found, r->n_found, sizeof *r->found, by_id);
    *ret = TAKE(r);
    return ERR_OK;
}

/* ---- the thread ---- */

static void *scan_thread(void *arg) {
    struct scan *s = arg;
    for (bool stop = false; !stop;) {
        struct scan_mail *mail = mailbox_take(s->jobs, -1);
        if (!mail) continue;
        stop = mail->stop;
        struct scan_result *result = NULL;
        enum err err = ERR_OK;
        if (mail->fn)
            mail->fn(mail->arg);
        else if (!stop)
            err = scan_run(s, &result);
        must(pthread_mutex_lock(&s->lock) == 0);
        while (s->left) (void)pause();
        if (err) log_warn("models.scan", "error=%s", log_q(err_text(err)));
        if (mail->fn) {
            mail->done(mail->arg);
        } else if (!stop) {
            atomic_store(&s->asked, false); /* before the post: its receiver may ask again at once */
            s->post(s->ctx, result);        /* NULL: this look found nothing out */
        }
        must(pthread_mutex_unlock(&s->lock) == 0);
        mem_free(mail);
    }
    atomic_store(&s->ended, true);
    return NULL;
}

enum err scan_start(struct scan *s, void (*post)(void *ctx, struct scan_result *result), void *ctx) {
    s->post = post;
    s->ctx = ctx;
    if (pthread_create(&s->thread, NULL, scan_thread, s)) return ERR_NOMEM;
    s->started = true;
    return ERR_OK;
}

static enum err mail_post(struct scan *s, struct scan_mail m) {
    struct scan_mail *mail = mem_dup(&m, sizeof m);
    if (!mail) return ERR_NOMEM;
    enum err err = mailbox_post(s->jobs, mail);
    if (err) mem_free(mail);
    return err;
}

bool scan_again(struct scan *s) {
    if (atomic_exchange(&s->asked, true)) return true;
    if (!mail_post(s, (struct scan_mail){0})) return true;
    atomic_store(&s->asked, false);
    return false;
}

enum err scan_job(struct scan *s, void (*fn)(void *arg), void (*done)(void *arg), void *arg) {
    return mail_post(s, (struct scan_mail){.fn = fn, .done = done, .arg = arg});
}

/* ---- life ---- */

static void sections_clear(struct scan *s) {
    for (uint32_t i = 0; i < s->n_sections; i++) {
        mem_free(s->sections[i].name);
        mem_free(s->sections[i].path);
        mem_free(s->sections[i].template_name);
    }
    mem_free(s->sections);
    s->sections = NULL;
    s->n_sections = 0;
}

enum err scan_set_sections(struct scan *s, const struct config *config) {
    sections_clear(s);
    if (!config->n_sections) return ERR_OK;
    s->sections = mem_array(config->n_sections, sizeof *s->sections);
    if (!s->sections) return ERR_NOMEM;
    for (; s->n_sections < config->n_sections; s->n_sections++) {
        const struct config_model *from = &config->sections[s->n_sections];
        struct scan_section *to = &s->sections[s->n_sections];
        to->name = mem_strdup(from->name);
        to->path = mem_strdup(from->path);
        to->template_name = mem_strdup(from->template_name);
        if (!to->name || (from->path && !to->path) || (from->template_name && !to->template_name)) {
            s->n_sections++;
            return ERR_NOMEM;
        }
    }
    return ERR_OK;
}

enum err scan_open(const struct config *config, struct scan **ret) {
    *ret = NULL;
    struct scan *s = mem_alloc(sizeof *s);
    if (!s) return ERR_NOMEM;
    must(pthread_mutex_init(&s->lock, NULL) == 0);
    enum err err = mailbox_open(JOBS_MAX, &s->jobs);
    if (!err) err = scan_set_sections(s, config);
    if (!err && config->n_models && !(s->folders = mem_array(config->n_models, sizeof *s->folders)))
        err = ERR_NOMEM;
    for (uint32_t i = 0; !err && i < config->n_models; i++) {
        if (!(s->folders[i] = mem_strdup(config->models[i])))
            err = ERR_NOMEM;
        else
            s->n_folders++;
    }
    if (err)
        scan_free(s);
    else
        *ret = s;
    return err;
}

/* False: it is LEFT BEHIND. */
static bool thread_end(struct scan *s) {
    struct scan_mail *stop = mem_alloc(sizeof *stop);
    must(stop); /* 32 bytes at the very end */
    stop->stop = true;
    bool posted = false;
    for (int64_t until_ns = clock_now_ns() + END_LIMIT_NS; !atomic_load(&s->ended);) {
        if (!posted) posted = mailbox_post(s->jobs, stop) == ERR_OK;
        if (clock_now_ns() >= until_ns) break;
        (void)usleep(1000);
    }
    if (!posted) mem_free(stop);
    must(pthread_mutex_lock(&s->lock) == 0);
    s->left = !atomic_load(&s->ended);
    bool left = s->left;
    must(pthread_mutex_unlock(&s->lock) == 0);
    must((left ? pthread_detach(s->thread) : pthread_join(s->thread, NULL)) == 0);
    return !left;
}

void scan_free(struct scan *s) {
    if (!s) return;
    if (s->started && !thread_end(s)) {
        log_warn("models.left", "error=%s", log_q("the look at the models' files does not come back"));
        return;
    }
    for (void *mail; s->jobs && (mail = mailbox_take(s->jobs, 0));) mem_free(mail);
    mailbox_free(s->jobs);
    must(pthread_mutex_destroy(&s->lock) == 0);
    sections_clear(s);
    for (uint32_t i = 0; i < s->n_folders; i++) mem_free(s->folders[i]);
    mem_free(s->folders);
    for (uint32_t i = 0; i < s->n_memory; i++) mem_free(s->memory[i].path);
    mem_free(s->memory);
    mem_free(s);
}
