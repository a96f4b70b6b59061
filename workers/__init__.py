"""What drives: the Celery application, the tasks, the store and the producer.

Importing it makes every `DataRouter` with `enable_parallel=True` deliver by the fleet.
"""

from router.delivery import install as _install
from workers.celery import app
from workers.fleet_delivery import FleetDelivery
from workers.producer import Producer, Receipt
from workers.sending import send

_install(FleetDelivery)

__all__ = ["FleetDelivery", "Producer", "Receipt", "app", "send"]
