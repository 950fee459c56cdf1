"""How fast the course's GPT writes, beside `transformers`' `generate` with the same weights.

    python benchmarks/sampling.py [--model gpt-small] [--batches 1 32] [--length 100] [--repeats 5]

One run, one thread each, in processor time; every repeat runs both, so that a busy machine is unfair to neither; the
table shows medians. Both sample with a cache of keys and values, temperature 1, no cuts.
"""

import argparse
import statistics
import time

import torch

from course_utils import pretrained, runtime
from course_utils.models.transformer import Config


def hugging_face(model):
    """The same weights in transformers' GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from course_utils.models.hugging_face import to_hugging_face

    settings, tensors = to_hugging_face(model)
    there = GPT2LMHeadModel(GPT2Config(**settings))
    there.load_state_dict(tensors, strict=False)
    return there.eval()


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="gpt-small", help="a name for pretrained.load")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = pretrained.load(options.model)
    config: Config = model.config
    there = hugging_face(model)
    prompt = torch.randint(config.vocab_size, (1, 8), generator=runtime.seed(0))
    assert torch.allclose(model(prompt), there(prompt).logits, atol=1e-4), "both must be the same model"
    print(f"{options.model}: {config.layers} layers, {config.dim} wide; torch {torch.__version__}")
    print("| batch | course, tokens/s | transformers, tokens/s | ratio |\n|---:|---:|---:|---:|")
    for batch in options.batches:
        prompts = prompt.expand(batch, -1)
        g = runtime.seed(0)
        ways = {
            "course": lambda prompts=prompts, g=g: model.generate(prompts, options.length, generator=g),
            "transformers": lambda prompts=prompts: there.generate(
                prompts, max_new_tokens=options.length, min_new_tokens=options.length, do_sample=True, top_k=0,
                attention_mask=torch.ones_like(prompts), pad_token_id=0,
            ),
        }  # fmt: skip
        for way in ways.values():
            way()  # once, to warm up
        times = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                times[name].append(seconds(way))
        ours, theirs = (batch * options.length / statistics.median(times[name]) for name in ways)
        print(f"| {batch} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f} |", flush=True)


if __name__ == "__main__":
    main()
