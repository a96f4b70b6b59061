"""What drives: the Celery application, the tasks, the store and the producer.

Importing it makes every `DataRouter` with `enable_parallel=True` deliver by the fleet, and tells destinations
where the fleet's Redis is.
"""

from destinations.fleet_redis import install as _install_redis
from router.delivery import install as _install
from workers.celery import app
from workers.fleet_delivery import FleetDelivery
from workers.producer import Producer, Receipt
from workers.sending import send
from workers.settings import require_state_url

_install(FleetDelivery)
_install_redis(require_state_url)

__all__ = ["FleetDelivery", "Producer", "Receipt", "app", "send"]
