#include "seat/seat_mail.h"

#include "base/mem.h"
#include "base/must.h"

struct mail_msg *mail_msg_new(struct msg *m) {
    struct mail_msg *mail = mem_alloc(sizeof *mail);
    if (!mail) return NULL;
    mail->mail.kind = MAIL_MSG;
    mail->msg = *m;
    *m = (struct msg){0};
    return mail;
}

void mail_msg_free(struct mail_msg *m) {
    if (!m) return;
    msg_free(&m->msg);
    mem_free(m);
}

struct disk_job *disk_job_new(enum disk_job_kind kind, uint64_t owner) {
    struct disk_job *j = mem_alloc(sizeof *j);
    if (!j) return NULL;
    j->mail.kind = MAIL_JOB;
    j->kind = kind;
    j->owner = owner;
    return j;
}

void disk_job_free(struct disk_job *j) {
    if (!j) return;
    msg_free(&j->msg);
    mem_free(j->path);
    mem_free(j->model);
    mem_free(j->agent);
    mem_free(j->text);
    mem_free(j->tokens);
    buf_free(&j->base);
    buf_free(&j->window_part);
    store_plan_free(&j->plan);
    store_chains_free(j->chains, j->n_chains);
    mem_free(j);
}

void mail_free(struct mail *m) {
    if (!m) return;
    must(m->kind == MAIL_MSG || m->kind == MAIL_JOB);
    if (m->kind == MAIL_MSG)
        mail_msg_free(CONTAINER_OF(m, struct mail_msg, mail));
    else
        disk_job_free(CONTAINER_OF(m, struct disk_job, mail));
}
