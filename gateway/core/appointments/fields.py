"""What a platform says of an appointment beside its time and texts: kept in its row, shown back."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class AppointmentFields:
    """The fields of an appointment that pass from the API to its row unchanged.

    A new one is named here, in the shapes of the API and in the table; what lies between hands
    them on as one value. ``external_id`` is unique in a subaccount (R35).
    """

    external_id: str | None = None


FIELD_NAMES = tuple(field.name for field in fields(AppointmentFields))
NO_FIELDS = AppointmentFields()
