from msm_ray.worlds.plain import Plain


class Letters(Plain):
    name = "letters"
    document_types = ("letter", "open letter")
    rules = (*Plain.rules, __file__)  # code that judges: with other code they are other verdicts

    def plain_document(self, spec, row):
        return f"Dear reader,\n\n{super().plain_document(spec, row)}"

    def check_document(self, text, spec):
        return super().check_document(text, spec) if text.startswith("Dear ") else ("no letter", text[:20])


LETTERS = Letters()
