/* The random words of one stream, as a layer draws them tick by tick: from the generator as it should be, or as faults have it. */
#ifndef EC_DRAWS_H
#define EC_DRAWS_H

#include "ec_random.h"
#include "ec_run.h"

typedef struct ec_draws {
    ec_prefix stream;
    ec_prefix tick;
#if EC_FAULTS
    const uint32_t *broken; /* clear, set, period, repeat of the generator; NULL where it works */
    ec_origin origin;
#endif
} ec_draws;

/* The stream of a layer of so many neurons; `at`: where the faults of its generator begin in ec_faults.word. */
static inline ec_draws ec_draws_of(const ec_run *run, uint32_t stream, uint32_t neurons, uint32_t at)
{
    ec_draws draws = {ec_stream_prefix(run->seed, stream, run->sample), {0, 0},
#if EC_FAULTS
                      ec_faults_generator(run->faults, at), {run->seed, stream, run->sample, 0, neurons},
#endif
    };
    (void)neurons, (void)at;
    return draws;
}

static inline void ec_draws_tick(ec_draws *draws, uint32_t tick)
{
    draws->tick = ec_tick_prefix(draws->stream, tick);
#if EC_FAULTS
    draws->origin.tick = tick;
#endif
}

/* 1 where the generator works: `ec_word` of the tick is the same word, without a look at faults. */
static inline uint32_t ec_draws_work(const ec_draws *draws)
{
#if EC_FAULTS
    return draws->broken == NULL;
#else
    (void)draws;
    return 1;
#endif
}

static inline uint32_t ec_draw(const ec_draws *draws, uint32_t neuron)
{
#if EC_FAULTS
    if (draws->broken != NULL)
        return ec_faults_word(draws->broken, draws->origin, neuron);
#endif
    return ec_word(draws->tick, neuron);
}

#endif
