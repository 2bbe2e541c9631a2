"""docs/scheduling.md once more, in 50 lines and without the server's code: what S17 counts swaps against."""
from collections import deque

STEP = 0.01


def play(trace, costs, bound_s, drain_s, parallel, seated):
    """trace: (arrival, model, seconds in the seat), by arrival; costs: what one swap after the other takes, the last one for all later ones.
    Gives (number of swaps, waits until the seat was entered)."""
    queues = {m: deque() for _, m, _ in trace}
    left, habits = {}, {m: deque(maxlen=8) for m in queues}  # when it left the seat; whether its work came back in time
    idle = dict.fromkeys(queues, -1e9)  # out of work since
    gate = 4 * bound_s
    running, waits, swaps, since, target, now, arrived = [], [], 0, 0.0, None, 0.0, 0
    drains_until = loads_until = None
    while arrived < len(trace) or running or any(queues.values()):
        now += STEP
        last = costs[max(0, min(swaps, len(costs)) - 4):max(1, swaps)]
        cost = sum(last) / len(last)
        stay, patience = min(9 * cost, 30), min(cost, 5)
        while arrived < len(trace) and trace[arrived][0] <= now:
            at, model, takes = trace[arrived]
            if model in idle:
                habits[model].append(now - idle.pop(model) <= patience)
            queues[model].append([at, takes, at])  # waits since, what is left of it, arrival
            arrived += 1
        for r in running:
            r[1] -= STEP
        running = [r for r in running if r[1] > 0]
        if drains_until is not None:
            if running and now < drains_until:
                continue
            queues[seated].extendleft([now, *r[1:2], None] for r in reversed(running))  # parked: they go on first
            running, left[seated], drains_until, loads_until = [], now, None, now + costs[min(swaps, len(costs)) - 1]
        if loads_until is not None:
            if now < loads_until:
                continue
            seated, since, loads_until = target, now, None
        while queues[seated] and len(running) < parallel:
            running.append(queues[seated].popleft())
            waits += [now - running[-1][2]] if running[-1][2] is not None else []
        busy = bool(running or queues[seated])
        if not busy:
            idle.setdefault(seated, now)
        waiting = {m: max(q[0][0], left.get(m, 0)) for m, q in queues.items() if q and m != seated}
        if not waiting:
            continue
        target = min(waiting, key=waiting.get)
        if busy:
            gathered = queues[seated] and queues[seated][0][0] <= since
            go = now - waiting[target] > bound_s and now - since >= stay and (not gathered or now - since >= gate)
        else:
            go = now - idle[seated] >= (patience if 2 * sum(habits[seated]) >= len(habits[seated]) else 0)
        if go:
            swaps += 1
            drains_until = now + drain_s
    return swaps, waits
