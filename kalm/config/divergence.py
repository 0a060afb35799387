"""How two next-token distributions are compared."""

from enum import Enum


class KlDirection(Enum):
    """How a student's distribution p is compared with a teacher's q: KL(p || q), KL(q || p), or both with the mean."""

    student_teacher = "student_teacher"
    teacher_student = "teacher_student"
    jensen_shannon = "jensen_shannon"
