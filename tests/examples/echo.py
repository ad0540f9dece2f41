def echo(settings, workers):
    async def answer(row):
        prompt = row["messages"][-1]["content"] if settings.chat else row["prompt"]
        return {"completion": f"<content>{prompt[-200:]}</content>", "finish_reason": "stop"}

    return answer
