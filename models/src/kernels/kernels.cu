// Row-wise operations of training, a warp a row; those of `kernels.rs`, for CUDA.
// Compiled when first used. `rows` rows of `width` values lie one after the other.

#define WARPS 8
#define FULL 0xffffffffu

__device__ static float sum_of_lanes(float value) {
    for (int far = 16; far > 0; far /= 2) value += __shfl_xor_sync(FULL, value, far);
    return value;
}

__device__ static float max_of_lanes(float value) {
    for (int far = 16; far > 0; far /= 2) value = fmaxf(value, __shfl_xor_sync(FULL, value, far));
    return value;
}

__device__ static float inverse_rms(const float *x, int width, float epsilon) {
    float squares = 0;
    for (int at = threadIdx.x; at < width; at += 32) squares += x[at] * x[at];
    return rsqrtf(sum_of_lanes(squares) / width + epsilon);
}

// The largest of a row, and the logarithm of the sum of exponentials less than it.
__device__ static float2 log_sum_exp(const float *x, int width) {
    float largest = __int_as_float(0xff800000), sum = 0;
    for (int at = threadIdx.x; at < width; at += 32) largest = fmaxf(largest, x[at]);
    largest = max_of_lanes(largest);
    for (int at = threadIdx.x; at < width; at += 32) sum += __expf(x[at] - largest);
    return make_float2(largest, logf(sum_of_lanes(sum)));
}

#define ROW                                                                \
    int row = blockIdx.x * WARPS + threadIdx.y;                            \
    if (row >= rows) return;                                               \
    size_t first = (size_t)row * width

extern "C" __global__ void rms_norm(const float *x, const float *weight, float *out, int rows, int width,
                                    float epsilon) {
    ROW;
    float scale = inverse_rms(x + first, width, epsilon);
    for (int at = threadIdx.x; at < width; at += 32) out[first + at] = x[first + at] * scale * weight[at];
}

extern "C" __global__ void rms_norm_of_input(const float *x, const float *weight, const float *grad, float *out,
                                             int rows, int width, float epsilon) {
    ROW;
    float scale = inverse_rms(x + first, width, epsilon), along = 0;
    for (int at = threadIdx.x; at < width; at += 32) along += x[first + at] * weight[at] * grad[first + at];
    along = sum_of_lanes(along) * scale * scale * scale / width;
    for (int at = threadIdx.x; at < width; at += 32)
        out[first + at] = scale * weight[at] * grad[first + at] - x[first + at] * along;
}

// `out` begins as zeros; a block adds up its rows before it adds to it.
extern "C" __global__ void rms_norm_of_weight(const float *x, const float *grad, float *out, int rows, int width,
                                              float epsilon) {
    extern __shared__ float sums[];
    int thread = threadIdx.y * 32 + threadIdx.x;
    for (int at = thread; at < width; at += 32 * WARPS) sums[at] = 0;
    __syncthreads();
    for (int row = blockIdx.x * WARPS + threadIdx.y; row < rows; row += gridDim.x * WARPS) {
        size_t first = (size_t)row * width;
        float scale = inverse_rms(x + first, width, epsilon);
        for (int at = threadIdx.x; at < width; at += 32) atomicAdd(sums + at, x[first + at] * scale * grad[first + at]);
    }
    __syncthreads();
    for (int at = thread; at < width; at += 32 * WARPS) atomicAdd(out + at, sums[at]);
}

extern "C" __global__ void softmax(const float *x, float *out, int rows, int width, float) {
    ROW;
    float2 of = log_sum_exp(x + first, width);
    for (int at = threadIdx.x; at < width; at += 32) out[first + at] = __expf(x[first + at] - of.x - of.y);
}

extern "C" __global__ void softmax_backward(const float *y, const float *grad, float *out, int rows, int width,
                                            float) {
    ROW;
    float along = 0;
    for (int at = threadIdx.x; at < width; at += 32) along += y[first + at] * grad[first + at];
    along = sum_of_lanes(along);
    for (int at = threadIdx.x; at < width; at += 32) out[first + at] = y[first + at] * (grad[first + at] - along);
}

extern "C" __global__ void cross_entropy(const float *logits, const unsigned *targets, float *out, int rows,
                                         int width, float) {
    ROW;
    float2 of = log_sum_exp(logits + first, width);
    if (threadIdx.x == 0) out[row] = of.x + of.y - logits[first + targets[row]];
}

extern "C" __global__ void cross_entropy_backward(const float *logits, const float *grad, const unsigned *targets,
                                                  float *out, int rows, int width, float) {
    ROW;
    float scale = grad[row];
    if (scale == 0) {
        for (int at = threadIdx.x; at < width; at += 32) out[first + at] = 0;
        return;
    }
    float2 of = log_sum_exp(logits + first, width);
    for (int at = threadIdx.x; at < width; at += 32) {
        float share = __expf(logits[first + at] - of.x - of.y);
        out[first + at] = scale * (share - (at == (int)targets[row] ? 1.0f : 0.0f));
    }
}

// `out`, `[vocabulary, width]`, begins as zeros.
extern "C" __global__ void embedding_backward(const float *grad, const unsigned *ids, float *out, int rows,
                                              int width, float) {
    ROW;
    float *to = out + (size_t)ids[row] * width;
    for (int at = threadIdx.x; at < width; at += 32)
        if (grad[first + at] != 0) atomicAdd(to + at, grad[first + at]);
}

extern "C" __global__ void relu(const float *x, float *out, int rows, int width, float) {
    ROW;
    for (int at = threadIdx.x; at < width; at += 32) out[first + at] = fmaxf(x[first + at], 0);
}

extern "C" __global__ void relu_backward(const float *y, const float *grad, float *out, int rows, int width, float) {
    ROW;
    for (int at = threadIdx.x; at < width; at += 32) out[first + at] = y[first + at] > 0 ? grad[first + at] : 0;
}

// Four dimensions in another order: `out` is [d0, d1, d2, d3], and a step along each is `s` values of `x`.
extern "C" __global__ void permute(const float *x, float *out, unsigned count, unsigned d1, unsigned d2, unsigned d3,
                                   unsigned s0, unsigned s1, unsigned s2, unsigned s3) {
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    unsigned i3 = at % d3, rest = at / d3;
    unsigned i2 = rest % d2;
    rest /= d2;
    unsigned i1 = rest % d1, i0 = rest / d1;
    out[at] = x[i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3];
}
