from msm_ray.engines import carried


def echo(settings, workers):
    def answer(row):
        prompt = row["messages"][-1]["content"] if settings.chat else row["prompt"]
        told = {"completion": f"<content>{prompt[-200:]}</content>", "finish_reason": "stop"}
        counted = {"num_input_tokens": 0, "num_generated_tokens": 0}
        return carried(row) | told | counted | {"error": "", "failure": ""}

    return lambda prompts: prompts.map(answer)  # `prompts` is a Ray dataset
