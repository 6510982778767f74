/* The memory of a model, for a test that fills it before a run and looks at what the run left alone. */
#include <stddef.h>
#include <string.h>

#include "ec_target.h"

/* The arrays whose values outlive no run, by number; NULL after the last. `host` begins with the model's state. */
void *test_array(void *host, uint32_t number, uint32_t *bytes)
{
    EC_TARGET_STATE *const s = host;
    const struct {
        void *at;
        size_t size;
    } arrays[] = {
        {s->words, sizeof s->words},
        {s->halves, sizeof s->halves},
        {s->codes, sizeof s->codes},
        {s->scratch.noise, sizeof s->scratch.noise},
        {s->scratch.membrane, sizeof s->scratch.membrane},
        {s->scratch.refractory, sizeof s->scratch.refractory},
        {s->scratch.list, sizeof s->scratch.list},
        {s->scratch.hits, sizeof s->scratch.hits},
        {s->scratch.sums, sizeof s->scratch.sums},
        {s->scratch.block, sizeof s->scratch.block},
        {s->scratch.window, sizeof s->scratch.window},
        {s->scratch.event, sizeof s->scratch.event},
    };
    if (number >= sizeof arrays / sizeof arrays[0])
        return NULL;
    *bytes = (uint32_t)arrays[number].size;
    return arrays[number].at;
}
