/*
 * The phones of many calls: sends and receives RTP (RFC 3550) as all of them, and measures what came of it.
 *
 * Each phone sends a packet of 172 octets (12 of header, 160 of payload) every 20 ms; all phones together send at even
 * distances. The payload begins with the time of sending and the number of the phone. Phones 2n and 2n+1 are one call.
 *
 * Read from standard input, one command a line:
 *
 *     phone HOST PORT        bind a phone to an IPv4 address; port 0 for an even one that is free
 *     bound                  print the ports of all phones as {"ports": [...]}
 *     to HOST PORT           where the next phone (in the order of `phone`) sends to
 *     watch PID              a process whose processor time is to be measured
 *     run AT RAMP WARMUP WINDOW AFTERMATH
 *                            begin at that time of CLOCK_MONOTONIC, one call after the other within RAMP, play for so
 *                            many seconds more (decimals allowed), print the result as one line of JSON, and end
 *
 * Only what is sent (or, for `relayed`, comes) within the window counts. Processor times are read when the window
 * begins and when it ends. This never sleeps while it plays: to be woken up would cost the relay time that a network
 * does not cost it. `worked` is the time that sending and receiving took, without waiting. Histograms are lists of
 * [microseconds, number]; `delays` are by how much packets went out late.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKET_OCTETS 172
#define HEADER_OCTETS 12
#define PACKET_NS 20000000LL
#define SAMPLES 160
#define PHONES_MOST 20000
#define WATCHED_MOST 64
#define EVENTS 64
#define SENDS_IN_A_ROW 16

/* Durations in microseconds: exact below 128, then 64 steps for each power of two, so to 1.6 %. */
#define STEPS 64
#define BINS (STEPS * 40)

struct histogram {
    uint64_t bins[BINS];
};

struct phone {
    int descriptor;
    int port;
    struct sockaddr_in local;
    uint32_t sent;
    uint32_t next_expected;
    uint32_t ssrc;
    double jitter;
    int64_t transit;
    int has_transit;
    unsigned char packet[PACKET_OCTETS];
};

struct usage {
    int64_t at;
    int64_t own;
    int64_t worked;
    int64_t watched[WATCHED_MOST];
    double busy;
};

static struct phone phones[PHONES_MOST];
static int phone_count, connected_count;
static pid_t watched[WATCHED_MOST];
static int watched_count;
static struct histogram latencies, delays;
static int64_t ramp, window_begin, window_end, worked;
static uint64_t sent, refused, received, relayed, disordered, misdirected;
static int queue_of_events;

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail("clock_gettime");
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void count(struct histogram *histogram, int64_t ns)
{
    uint64_t us = ns < 0 ? 0 : (uint64_t)ns / 1000;
    unsigned bin = us;
    if (us >= STEPS) {
        int shift = 63 - __builtin_clzll(us) - 6;
        bin = STEPS * (shift + 1) + ((us >> shift) - STEPS);
    }
    histogram->bins[bin < BINS ? bin : BINS - 1]++;
}

/* The middle of each bin that is not empty, and how many are in it. */
static void print_histogram(const char *name, const struct histogram *histogram)
{
    const char *separator = "";
    printf("\"%s\": [", name);
    for (unsigned bin = 0; bin < BINS; bin++)
        if (histogram->bins[bin]) {
            unsigned shift = bin < 2 * STEPS ? 0 : bin / STEPS - 1;
            uint64_t low = bin < 2 * STEPS ? bin : (uint64_t)(bin % STEPS + STEPS) << shift;
            printf("%s[%lu, %lu]", separator, low + ((UINT64_C(1) << shift) >> 1), histogram->bins[bin]);
            separator = ", ";
        }
    printf("], ");
}

static void set_address(struct sockaddr_in *address, const char *host, int port)
{
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    if (inet_pton(AF_INET, host, &address->sin_addr) != 1) {
        fprintf(stderr, "%s: not an IPv4 address\n", host);
        exit(1);
    }
}

static void add_phone(const char *host, int port)
{
    static int next = 32768;
    struct phone *phone = &phones[phone_count];
    if (phone_count == PHONES_MOST) {
        fprintf(stderr, "more than %d phones\n", PHONES_MOST);
        exit(1);
    }
    phone->descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (phone->descriptor < 0)
        fail("socket");
    for (int free_one = port == 0;; next += 2) {
        if (free_one)
            port = next;
        if (port > 65535)
            fail("no free port");
        set_address(&phone->local, host, port);
        if (!bind(phone->descriptor, (struct sockaddr *)&phone->local, sizeof phone->local))
            break;
        if (!free_one || errno != EADDRINUSE)
            fail("bind");
    }
    if (port == next)
        next += 2;
    phone->port = port;
    phone->ssrc = 0x51bd0000u + phone_count;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = phone_count};
    if (epoll_ctl(queue_of_events, EPOLL_CTL_ADD, phone->descriptor, &event))
        fail("epoll_ctl");
    phone->packet[0] = 0x80;
    uint32_t ssrc = htonl(phone->ssrc);
    memcpy(phone->packet + 8, &ssrc, 4);
    memset(phone->packet + HEADER_OCTETS, 0xff, PACKET_OCTETS - HEADER_OCTETS);
    phone_count++;
}

static void print_ports(void)
{
    printf("{\"ports\": [");
    for (int index = 0; index < phone_count; index++)
        printf("%s%d", index ? ", " : "", phones[index].port);
    printf("]}\n");
    fflush(stdout);
}

static void connect_phone(const char *host, int port)
{
    struct sockaddr_in remote;
    if (connected_count == phone_count) {
        fprintf(stderr, "more `to` than `phone`\n");
        exit(1);
    }
    set_address(&remote, host, port);
    if (connect(phones[connected_count].descriptor, (struct sockaddr *)&remote, sizeof remote))
        fail("connect");
    connected_count++;
}

static void watch(int pid)
{
    if (watched_count == WATCHED_MOST) {
        fprintf(stderr, "more than %d processes\n", WATCHED_MOST);
        exit(1);
    }
    watched[watched_count++] = pid;
}

/* Seconds that all processors together were neither idle nor taken away by the host. */
static double busy_seconds(int64_t at)
{
    double fields[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    if (!file || fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", fields, fields + 1, fields + 2, fields + 3,
                        fields + 4, fields + 5, fields + 6, fields + 7) != 8)
        fail("/proc/stat");
    fclose(file);
    double total = at / 1e9 * sysconf(_SC_NPROCESSORS_ONLN);
    return total - (fields[3] + fields[4] + fields[7]) / sysconf(_SC_CLK_TCK);
}

static void read_usage(struct usage *usage)
{
    usage->at = now();
    for (int index = 0; index < watched_count; index++) {
        clockid_t clock;
        struct timespec time;
        usage->watched[index] = -1; /* has ended */
        if (!clock_getcpuclockid(watched[index], &clock) && !clock_gettime(clock, &time))
            usage->watched[index] = time.tv_sec * 1000000000LL + time.tv_nsec;
    }
    usage->own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    usage->busy = busy_seconds(usage->at);
    usage->worked = worked;
}

static int64_t send_packet(int index, int64_t due)
{
    struct phone *phone = &phones[index];
    unsigned char *packet = phone->packet;
    uint16_t sequence = htons((uint16_t)(phone->sent + 1));
    uint32_t timestamp = htonl(phone->sent * SAMPLES), own = index, number = phone->sent++;
    packet[1] = number ? 0 : 0x80; /* PCMU; the marker bit begins the talk */
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 20, &own, 4);
    memcpy(packet + 24, &number, 4);
    int64_t at = now();
    memcpy(packet + 12, &at, 8);
    int counts = at >= window_begin && at < window_end;
    ssize_t size = send(phone->descriptor, packet, PACKET_OCTETS, 0);
    /* An error is that of an earlier packet (ICMP) or of a full queue; what was not sent is lost as well. */
    if (size != PACKET_OCTETS && counts)
        refused++;
    int64_t ended = now();
    if (counts) {
        sent++;
        count(&delays, at - due);
    }
    worked += ended - at;
    return ended;
}

static int64_t receive_packet(int index)
{
    struct phone *phone = &phones[index];
    unsigned char packet[2048];
    ssize_t size = recv(phone->descriptor, packet, sizeof packet, 0);
    int64_t at = now(), departed;
    if (size != PACKET_OCTETS)
        return at;
    uint32_t origin, number;
    memcpy(&departed, packet + 12, 8);
    memcpy(&origin, packet + 20, 4);
    memcpy(&number, packet + 24, 4);
    if ((origin ^ 1) != (uint32_t)index) {
        misdirected++;
        return at;
    }
    int64_t transit = at - departed;
    if (phone->has_transit)
        phone->jitter += (fabs((double)(transit - phone->transit)) - phone->jitter) / 16; /* RFC 3550 section 6.4.1 */
    phone->transit = transit;
    phone->has_transit = 1;
    if (number < phone->next_expected)
        disordered++;
    else
        phone->next_expected = number + 1;
    if (at >= window_begin && at < window_end)
        relayed++;
    if (departed >= window_begin && departed < window_end) {
        received++;
        count(&latencies, transit);
    }
    return at;
}

/* Send what is due by now, but not too much in a row; give the time. */
static int64_t send_due(int64_t began, uint64_t *turn, int64_t time, int64_t until)
{
    for (int sends = 0; sends < SENDS_IN_A_ROW;) {
        int64_t due = began + (int64_t)((double)*turn * PACKET_NS / phone_count);
        int index = *turn % phone_count;
        if (due > time || due >= until)
            break;
        ++*turn;
        if (due - began < ramp / (phone_count / 2) * (index / 2))
            continue; /* its call has not begun */
        time = send_packet(index, due);
        sends++;
    }
    return time;
}

static double average_jitter(void)
{
    double sum = 0;
    int streams = 0;
    for (int index = 0; index < phone_count; index++)
        if (phones[index].has_transit) {
            sum += phones[index].jitter;
            streams++;
        }
    return streams ? sum / streams : 0;
}

static void run(double at, double ramp_seconds, double warmup, double window, double aftermath)
{
    static struct usage before, after;
    struct epoll_event events[EVENTS];
    uint64_t turn = 0;
    int marks = 0;
    double jitter = 0;
    if (!phone_count || connected_count != phone_count || phone_count % 2) {
        fprintf(stderr, "phones come in pairs, each with a `to`\n");
        exit(1);
    }
    struct timespec begin = {.tv_sec = at, .tv_nsec = (at - floor(at)) * 1e9};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &begin, NULL) == EINTR)
        ;
    int64_t began = now(), time = began;
    ramp = ramp_seconds * 1e9;
    window_begin = began + ramp + (int64_t)(warmup * 1e9);
    window_end = window_begin + (int64_t)(window * 1e9);
    int64_t last_send = window_end + PACKET_NS, end = last_send + (int64_t)(aftermath * 1e9);
    while (time < end) {
        if (marks == 0 && time >= window_begin) {
            read_usage(&before);
            marks = 1;
        } else if (marks == 1 && time >= window_end) {
            read_usage(&after);
            jitter = average_jitter();
            marks = 2;
        }
        send_due(began, &turn, time, last_send);
        int64_t from = now(), sending = worked;
        int number = epoll_wait(queue_of_events, events, EVENTS, 0);
        if (number < 0 && errno != EINTR)
            fail("epoll_wait");
        time = now();
        for (int index = 0; index < number; index++) {
            time = receive_packet(events[index].data.u32);
            if (marks != 1 || time < window_end)
                time = send_due(began, &turn, time, last_send);
        }
        if (number > 0) /* the sending in between has counted itself */
            worked = sending + (time - from);
    }
    printf("{\"seconds\": %.9f, \"sent\": %lu, \"refused\": %lu, \"received\": %lu, \"relayed\": %lu, "
           "\"disordered\": %lu, \"misdirected\": %lu, \"jitter_us\": %.3f, "
           "\"worked\": %.9f, \"own\": %.9f, \"busy\": %.3f, ",
           (after.at - before.at) / 1e9, sent, refused, received, relayed, disordered, misdirected, jitter / 1e3,
           (after.worked - before.worked) / 1e9, (after.own - before.own) / 1e9, after.busy - before.busy);
    print_histogram("latencies", &latencies);
    print_histogram("delays", &delays);
    printf("\"watched\": [");
    for (int index = 0; index < watched_count; index++) {
        int64_t first = before.watched[index], last = after.watched[index];
        if (first < 0 || last < 0)
            printf("%snull", index ? ", " : "");
        else
            printf("%s%.9f", index ? ", " : "", (last - first) / 1e9);
    }
    printf("]}\n");
    fflush(stdout);
}

int main(void)
{
    char line[256], host[64];
    int number;
    double at, ramp_seconds, warmup, window, aftermath;
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    queue_of_events = epoll_create1(EPOLL_CLOEXEC);
    if (queue_of_events < 0)
        fail("epoll_create1");
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "phone %63s %d", host, &number) == 2)
            add_phone(host, number);
        else if (!strcmp(line, "bound\n"))
            print_ports();
        else if (sscanf(line, "to %63s %d", host, &number) == 2)
            connect_phone(host, number);
        else if (sscanf(line, "watch %d", &number) == 1)
            watch(number);
        else if (sscanf(line, "run %lf %lf %lf %lf %lf", &at, &ramp_seconds, &warmup, &window, &aftermath) == 5) {
            run(at, ramp_seconds, warmup, window, aftermath);
            return 0;
        } else {
            fprintf(stderr, "not understood: %s", line);
            return 1;
        }
    }
    return 0;
}
