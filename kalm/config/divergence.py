"""How two next-token distributions are compared."""

from enum import Enum

from kalm.config.checks import require_at_least, require_positive


class KlDirection(Enum):
    """How a student's distribution p is compared with a teacher's q: KL(p || q), KL(q || p), or both with the mean."""

    student_teacher = "student_teacher"
    teacher_student = "teacher_student"
    jensen_shannon = "jensen_shannon"


def require_divergence(section: str, temperature: float, top_k: int | None) -> None:
    require_positive(f"{section}.temperature", temperature)
    if top_k is not None:
        require_at_least(f"{section}.top_k", top_k, 1)
