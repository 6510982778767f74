#include "ec_model.h"

#include <string.h>

uint8_t ec_model_set_input(const ec_model *model, void *state, uint8_t head, const void *bytes, uint32_t count)
{
    if (head >= model->heads)
        return EC_ERROR_OUT_OF_RANGE;
    if (count != model->head[head].input_bytes)
        return EC_ERROR_BAD_LENGTH;
    memcpy((uint8_t *)state + model->input_at, bytes, (size_t)count);
    return 0;
}

const int32_t *ec_model_logits(const ec_model *model, const void *state, uint8_t head)
{
    if (head >= model->heads)
        return NULL;
    return (const int32_t *)(const void *)((const uint8_t *)state + model->head[head].logits_at);
}
