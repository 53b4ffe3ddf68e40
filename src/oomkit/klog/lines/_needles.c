/* Looks for many words at once in the bytes of a log, and counts its newlines.

   Of each word three bytes are chosen that are rare in logs. Words are dealt out to eight buckets, and
   for each bucket and each of the three bytes it is known which values may stand there: by the
   lower and the upper half of the byte, so that one instruction looks up 16 or 32 bytes at once.
   Where all three bytes may be a bucket's, its words are compared. Without such instructions the same
   is looked up byte by byte. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define HAS_X86 1
#include <immintrin.h>
#else
#define HAS_X86 0
#endif

#define WINDOW 3
#define BUCKETS 8
#define MAX_NEEDLES 1024

typedef struct {
    const uint8_t *text;
    uint32_t size;
    uint32_t offset; /* of the window in the text */
    uint32_t window; /* its bytes, */
    uint32_t mask;   /* and which of them the needle has */
    uint32_t number;
} Needle;

typedef struct {
    size_t at;
    uint32_t number;
    uint32_t size;
} Match;

typedef struct {
    Match *matches;
    size_t count;
    size_t room;
    int failed;
} Found;

typedef struct Searcher {
    PyObject_HEAD
    uint8_t *texts;
    Needle *needles; /* by bucket */
    uint32_t first[BUCKETS + 1];
    uint8_t low[WINDOW][16];
    uint8_t high[WINDOW][16];
    uint8_t any[WINDOW][256];
} Searcher;

/* What is looked through: `data[0..end)`. Matches end there, and begin at `start` or behind. */
typedef struct {
    const uint8_t *data;
    size_t start;
    size_t end;
} Text;

/* How often bytes stand in logs, most often first. Behind these: all others. */
static const char FREQUENT[] = " etsoianr0d1lmc2:p3u4-g5h6f7.8y9bkv[]\nxw=_/,()STACEIRDMOPLNJ\"{}FUBGKHVW<>'*#";

/* The chance that a byte of a log is this one. */
static float chances[256];

static void set_chances(void)
{
    for (int byte = 0; byte < 256; byte++)
        chances[byte] = 0.0001f;
    for (int rank = 0; FREQUENT[rank] != 0; rank++)
        chances[(uint8_t)FREQUENT[rank]] =
            rank == 0 ? 0.12f : rank < 20 ? 0.04f - (float)rank * 0.001f : rank < 40 ? 0.01f : 0.002f;
}

static void note_match(Found *found, size_t at, const Needle *needle)
{
    if (found->count == found->room) {
        size_t room = found->room ? found->room * 2 : 64;
        Match *grown = realloc(found->matches, room * sizeof *grown);
        if (grown == NULL) {
            found->failed = 1;
            return;
        }
        found->matches = grown;
        found->room = room;
    }
    /* Those that begin earlier may be found later, by as much as windows stand in their words. */
    size_t i = found->count++;
    Match *matches = found->matches;
    while (i > 0 && (matches[i - 1].at > at ||
                     (matches[i - 1].at == at && matches[i - 1].number > needle->number))) {
        matches[i] = matches[i - 1];
        i--;
    }
    matches[i].at = at;
    matches[i].number = needle->number;
    matches[i].size = needle->size;
}

/* Compare the words of some buckets with what stands around a window. */
static void compare(const Searcher *self, const Text *text, size_t at, unsigned buckets,
                    Found *found)
{
    uint8_t bytes[4] = {0, 0, 0, 0};
    size_t left = text->end - at;
    uint32_t window;
    memcpy(bytes, text->data + at, left < WINDOW ? left : WINDOW);
    memcpy(&window, bytes, sizeof window);
    while (buckets != 0) {
        unsigned bucket = (unsigned)__builtin_ctz(buckets);
        buckets &= buckets - 1;
        for (uint32_t i = self->first[bucket]; i < self->first[bucket + 1]; i++) {
            const Needle *needle = &self->needles[i];
            if (((window ^ needle->window) & needle->mask) != 0)
                continue;
            if (at < text->start + needle->offset || left < needle->size - needle->offset)
                continue;
            size_t begin = at - needle->offset;
            if (memcmp(text->data + begin, needle->text, needle->size) == 0)
                note_match(found, begin, needle);
        }
    }
}

static void sweep_plain(const Searcher *self, const Text *text, size_t at, Found *found)
{
    const uint8_t *data = text->data;
    for (; at + WINDOW <= text->end; at++) {
        unsigned buckets = self->any[0][data[at]] & self->any[1][data[at + 1]] &
                           self->any[2][data[at + 2]];
        if (buckets != 0)
            compare(self, text, at, buckets, found);
    }
    /* Of words of one or two bytes the window may reach beyond the end. */
    for (; at < text->end; at++)
        compare(self, text, at, (1u << BUCKETS) - 1, found);
}

#if HAS_X86
__attribute__((target("avx2"))) static size_t sweep_avx2(const Searcher *self, const Text *text,
                                                         Found *found)
{
    const __m256i half = _mm256_set1_epi8(0x0f);
    __m256i low[WINDOW], high[WINDOW];
    for (int i = 0; i < WINDOW; i++) {
        low[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)self->low[i]));
        high[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)self->high[i]));
    }
    const uint8_t *data = text->data;
    size_t at = text->start;
    for (; at + 32 + WINDOW <= text->end; at += 32) {
        __m256i may = _mm256_set1_epi8(-1);
        for (int i = 0; i < WINDOW; i++) {
            __m256i bytes = _mm256_loadu_si256((const __m256i *)(data + at + i));
            __m256i upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), half);
            __m256i lower = _mm256_and_si256(bytes, half);
            may = _mm256_and_si256(may, _mm256_and_si256(_mm256_shuffle_epi8(low[i], lower),
                                                         _mm256_shuffle_epi8(high[i], upper)));
        }
        if (_mm256_testz_si256(may, may))
            continue;
        uint8_t buckets[32];
        _mm256_storeu_si256((__m256i *)buckets, may);
        uint32_t places = ~(uint32_t)_mm256_movemask_epi8(
            _mm256_cmpeq_epi8(may, _mm256_setzero_si256()));
        for (; places != 0; places &= places - 1) {
            unsigned place = (unsigned)__builtin_ctz(places);
            compare(self, text, at + place, buckets[place], found);
        }
    }
    return at;
}

__attribute__((target("ssse3"))) static size_t sweep_ssse3(const Searcher *self, const Text *text,
                                                           Found *found)
{
    const __m128i half = _mm_set1_epi8(0x0f);
    __m128i low[WINDOW], high[WINDOW];
    for (int i = 0; i < WINDOW; i++) {
        low[i] = _mm_loadu_si128((const __m128i *)self->low[i]);
        high[i] = _mm_loadu_si128((const __m128i *)self->high[i]);
    }
    const uint8_t *data = text->data;
    size_t at = text->start;
    for (; at + 16 + WINDOW <= text->end; at += 16) {
        __m128i may = _mm_set1_epi8(-1);
        for (int i = 0; i < WINDOW; i++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(data + at + i));
            __m128i upper = _mm_and_si128(_mm_srli_epi16(bytes, 4), half);
            __m128i lower = _mm_and_si128(bytes, half);
            may = _mm_and_si128(may, _mm_and_si128(_mm_shuffle_epi8(low[i], lower),
                                                   _mm_shuffle_epi8(high[i], upper)));
        }
        unsigned places = 0xffffu ^ (unsigned)_mm_movemask_epi8(
                                        _mm_cmpeq_epi8(may, _mm_setzero_si128()));
        if (places == 0)
            continue;
        uint8_t buckets[16];
        _mm_storeu_si128((__m128i *)buckets, may);
        for (; places != 0; places &= places - 1) {
            unsigned place = (unsigned)__builtin_ctz(places);
            compare(self, text, at + place, buckets[place], found);
        }
    }
    return at;
}
#endif

static int has_avx2, has_ssse3;

static void look_up_processor(void)
{
#if HAS_X86
    __builtin_cpu_init();
    has_avx2 = __builtin_cpu_supports("avx2") != 0;
    has_ssse3 = __builtin_cpu_supports("ssse3") != 0;
#endif
}

/* What a searcher may use of the processor: as much as there is, or less. */
enum { PLAIN, BYTES_16, BYTES_32 };

static int widest(void)
{
    return has_avx2 ? BYTES_32 : has_ssse3 ? BYTES_16 : PLAIN;
}

static void sweep(const Searcher *self, const Text *text, int width, Found *found)
{
    size_t at = text->start;
#if HAS_X86
    if (width >= BYTES_32)
        at = sweep_avx2(self, text, found);
    else if (width == BYTES_16)
        at = sweep_ssse3(self, text, found);
#else
    (void)width;
#endif
    sweep_plain(self, text, at, found);
}

static size_t count_plain(const uint8_t *data, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += data[i] == '\n';
    return count;
}

#if HAS_X86
__attribute__((target("avx2"))) static size_t count_avx2(const uint8_t *data, size_t size)
{
    const __m256i newline = _mm256_set1_epi8('\n');
    __m256i sums = _mm256_setzero_si256();
    size_t at = 0;
    while (at + 64 <= size) {
        __m256i even = _mm256_setzero_si256(), odd = _mm256_setzero_si256();
        /* Each byte of these counts up to 255. */
        for (int i = 0; i < 255 && at + 64 <= size; i++, at += 64) {
            __m256i first = _mm256_loadu_si256((const __m256i *)(data + at));
            __m256i second = _mm256_loadu_si256((const __m256i *)(data + at + 32));
            even = _mm256_sub_epi8(even, _mm256_cmpeq_epi8(first, newline));
            odd = _mm256_sub_epi8(odd, _mm256_cmpeq_epi8(second, newline));
        }
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(even, _mm256_setzero_si256()));
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(odd, _mm256_setzero_si256()));
    }
    uint64_t parts[4];
    _mm256_storeu_si256((__m256i *)parts, sums);
    return (size_t)(parts[0] + parts[1] + parts[2] + parts[3]) + count_plain(data + at, size - at);
}
#endif

static size_t count_newlines(const uint8_t *data, size_t size)
{
#if HAS_X86
    if (has_avx2)
        return count_avx2(data, size);
#endif
    return count_plain(data, size);
}

/* The values that may stand at one place of a bucket's windows, as halves. */
typedef struct {
    uint16_t low;
    uint16_t high;
} Halves;

static double chance_of(Halves halves)
{
    double sum = 0;
    for (unsigned high = 0; high < 16; high++) {
        if (!(halves.high >> high & 1))
            continue;
        for (unsigned low = 0; low < 16; low++)
            if (halves.low >> low & 1)
                sum += chances[high << 4 | low];
    }
    return sum;
}

static Halves with_byte(Halves halves, const Needle *needle, uint32_t place)
{
    if (place >= needle->size) {
        halves.low = halves.high = 0xffff;
        return halves;
    }
    uint8_t byte = needle->text[place];
    halves.low |= (uint16_t)(1u << (byte & 15));
    halves.high |= (uint16_t)(1u << (byte >> 4));
    return halves;
}

static double chance_with(const Halves *bucket, const Needle *needle, uint32_t offset)
{
    double product = 1;
    for (uint32_t i = 0; i < WINDOW; i++)
        product *= chance_of(with_byte(bucket[i], needle, offset + i));
    return product;
}

/* The two windows of a word that are rarest by themselves. */
static void rarest_windows(const Needle *needle, uint32_t best[2])
{
    double least[2] = {2, 2};
    static const Halves none[WINDOW];
    uint32_t last = needle->size > WINDOW ? needle->size - WINDOW : 0;
    best[0] = best[1] = 0;
    for (uint32_t offset = 0; offset <= last; offset++) {
        double product = chance_with(none, needle, offset);
        if (product < least[0]) {
            least[1] = least[0], best[1] = best[0];
            least[0] = product, best[0] = offset;
        } else if (product < least[1]) {
            least[1] = product, best[1] = offset;
        }
    }
}

/* Deal out the words, each to the bucket that will then be mistaken least often. */
static void fill_buckets(Searcher *self, Needle *needles, uint32_t count)
{
    Halves halves[BUCKETS][WINDOW];
    double costs[BUCKETS] = {0};
    uint8_t bucket_of[MAX_NEEDLES];
    memset(halves, 0, sizeof halves);
    for (uint32_t n = 0; n < count; n++) {
        Needle *needle = &needles[n];
        uint32_t windows[2];
        unsigned bucket = 0;
        double least = 1e9;
        rarest_windows(needle, windows);
        for (int w = 0; w < 2; w++)
            for (unsigned b = 0; b < BUCKETS; b++) {
                double more = chance_with(halves[b], needle, windows[w]) - costs[b];
                if (more < least) {
                    least = more;
                    bucket = b;
                    needle->offset = windows[w];
                }
            }
        bucket_of[n] = (uint8_t)bucket;
        costs[bucket] += least;
        for (uint32_t i = 0; i < WINDOW; i++)
            halves[bucket][i] = with_byte(halves[bucket][i], needle, needle->offset + i);
        uint8_t window[4] = {0}, mask[4] = {0};
        for (uint32_t i = 0; i < 4 && needle->offset + i < needle->size; i++) {
            window[i] = needle->text[needle->offset + i];
            mask[i] = i < WINDOW ? 0xff : 0;
        }
        memcpy(&needle->window, window, 4);
        memcpy(&needle->mask, mask, 4);
    }
    uint32_t placed = 0;
    for (unsigned b = 0; b < BUCKETS; b++) {
        self->first[b] = placed;
        for (uint32_t n = 0; n < count; n++)
            if (bucket_of[n] == b)
                self->needles[placed++] = needles[n];
        for (int i = 0; i < WINDOW; i++)
            for (unsigned half = 0; half < 16; half++) {
                self->low[i][half] |= (uint8_t)((halves[b][i].low >> half & 1) << b);
                self->high[i][half] |= (uint8_t)((halves[b][i].high >> half & 1) << b);
            }
    }
    self->first[BUCKETS] = placed;
    for (int i = 0; i < WINDOW; i++)
        for (unsigned byte = 0; byte < 256; byte++)
            self->any[i][byte] = self->low[i][byte & 15] & self->high[i][byte >> 4];
}

static void searcher_dealloc(Searcher *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(self->texts);
    PyMem_Free(self->needles);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* Copy the words; 0 with an exception set if that can't be. */
static int take_words(Searcher *self, PyObject *words)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(words);
    size_t bytes = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *word = PySequence_Fast_GET_ITEM(words, i);
        if (!PyBytes_Check(word)) {
            PyErr_SetString(PyExc_TypeError, "expected a sequence of bytes");
            return 0;
        }
        bytes += (size_t)PyBytes_GET_SIZE(word);
        if (PyBytes_GET_SIZE(word) == 0 || bytes > UINT32_MAX / 2) {
            PyErr_SetString(PyExc_ValueError, "a word is empty, or the words are too long");
            return 0;
        }
    }
    if (count > MAX_NEEDLES) {
        PyErr_Format(PyExc_ValueError, "expected at most %d words", MAX_NEEDLES);
        return 0;
    }
    self->texts = PyMem_Malloc(bytes + 1);
    self->needles = PyMem_Calloc((size_t)count + 1, sizeof *self->needles);
    Needle *needles = PyMem_Calloc((size_t)count + 1, sizeof *needles);
    if (self->texts == NULL || self->needles == NULL || needles == NULL) {
        PyMem_Free(needles);
        PyErr_NoMemory();
        return 0;
    }
    uint8_t *text = self->texts;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *word = PySequence_Fast_GET_ITEM(words, i);
        needles[i].text = text;
        needles[i].size = (uint32_t)PyBytes_GET_SIZE(word);
        needles[i].number = (uint32_t)i;
        memcpy(text, PyBytes_AS_STRING(word), needles[i].size);
        text += needles[i].size;
    }
    fill_buckets(self, needles, (uint32_t)count);
    PyMem_Free(needles);
    return 1;
}

static PyObject *searcher_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"words", NULL};
    PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O", names, &given))
        return NULL;
    PyObject *words = PySequence_Fast(given, "expected a sequence of bytes");
    if (words == NULL)
        return NULL;
    Searcher *self = (Searcher *)type->tp_alloc(type, 0);
    if (self != NULL && !take_words(self, words))
        Py_CLEAR(self);
    Py_DECREF(words);
    return (PyObject *)self;
}

/* The part of a buffer between two offsets; both are brought into it. */
static Text part_of(const Py_buffer *buffer, Py_ssize_t start, Py_ssize_t end)
{
    Text text;
    end = end > buffer->len ? buffer->len : end < 0 ? 0 : end;
    start = start < 0 ? 0 : start > end ? end : start;
    text.data = buffer->buf;
    text.start = (size_t)start;
    text.end = (size_t)end;
    return text;
}

/* Of those that overlap the first counts, of two at one place that of the lower number. */
static PyObject *list_of(const Found *found)
{
    PyObject *list = PyList_New(0);
    size_t from = 0;
    for (size_t i = 0; list != NULL && i < found->count; i++) {
        const Match *match = &found->matches[i];
        if (match->at < from)
            continue;
        from = match->at + match->size;
        PyObject *pair = Py_BuildValue("(nI)", (Py_ssize_t)match->at, match->number);
        if (pair == NULL || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *searcher_find(Searcher *self, PyObject *arguments)
{
    Py_buffer buffer;
    Py_ssize_t start, end;
    int width = BYTES_32;
    if (!PyArg_ParseTuple(arguments, "y*nn|i", &buffer, &start, &end, &width))
        return NULL;
    Text text = part_of(&buffer, start, end);
    Found found = {NULL, 0, 0, 0};
    if (width > widest())
        width = widest();
    Py_BEGIN_ALLOW_THREADS
    sweep(self, &text, width, &found);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    PyObject *list = found.failed ? PyErr_NoMemory() : list_of(&found);
    free(found.matches);
    return list;
}

static PyObject *module_count(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer buffer;
    Py_ssize_t start, end;
    size_t count;
    if (!PyArg_ParseTuple(arguments, "y*nn", &buffer, &start, &end))
        return NULL;
    Text text = part_of(&buffer, start, end);
    Py_BEGIN_ALLOW_THREADS
    count = count_newlines(text.data + text.start, text.end - text.start);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    return PyLong_FromSize_t(count);
}

static PyMethodDef searcher_methods[] = {
    {"find", (PyCFunction)searcher_find, METH_VARARGS,
     "find(buffer, start, end, width=2)\n--\n\n"
     "Where words stand between two offsets, and the number of each; they don't overlap."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot searcher_slots[] = {
    {Py_tp_new, searcher_new},
    {Py_tp_dealloc, searcher_dealloc},
    {Py_tp_methods, searcher_methods},
    {Py_tp_doc, "Searcher(words)\n--\n\nLooks for words, of one byte at least each."},
    {0, NULL},
};

static PyType_Spec searcher_spec = {
    "oomkit.klog.lines._needles.Searcher", sizeof(Searcher), 0, Py_TPFLAGS_DEFAULT, searcher_slots,
};

static PyMethodDef module_methods[] = {
    {"count_newlines", module_count, METH_VARARGS,
     "count_newlines(buffer, start, end)\n--\n\nHow many newlines stand between two offsets."},
    {NULL, NULL, 0, NULL},
};

static int module_begin(PyObject *module)
{
    look_up_processor();
    set_chances();
    PyObject *type = PyType_FromSpec(&searcher_spec);
    if (type == NULL || PyModule_AddObjectRef(module, "Searcher", type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    Py_DECREF(type);
    return PyModule_AddIntConstant(module, "WIDTH", widest());
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_begin},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_needles", "Words and newlines looked for in bytes.", 0,
    module_methods, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__needles(void)
{
    return PyModuleDef_Init(&module_definition);
}
