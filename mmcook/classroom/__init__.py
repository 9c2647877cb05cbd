"""Exercises that a student does, and grading that a teacher can trust.

A student's function runs in the student's own kernel, in a sandbox, on inputs that the teacher's process drew. What it
returns comes back as plain data; the verdict is made here, where no code of a student ever runs.
"""

from mmcook.classroom.judging import Hidden

__all__ = ["Hidden"]
