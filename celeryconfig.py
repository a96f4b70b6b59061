"""Celery's configuration for Candlefleet; every value a site may change comes from the environment.

Why each is set as it is: docs/celery.md.
"""

from router.errors import ConfigError as _ConfigError
from workers.broker import queue as _queue
from workers.broker import transport_options as _transport_options
from workers.envelope import QUEUE as _POINTS
from workers.envelope import TASK as _TASK
from workers.settings import broker_url as _broker_url
from workers.settings import settings as _settings
from workers.settings import state_url as _state_url

try:
    _s = _settings()
except _ConfigError as _error:
    raise SystemExit(f"candlefleet: {_error}") from None

# Where messages go. They carry ids, never points, and JSON is the only language spoken.
broker_url = _broker_url()
result_backend = f"workers.backend.QuietRedisBackend+{_state}" if (_state := _state_url()) else None
accept_content = ["json"]
task_serializer = result_serializer = "json"
broker_connection_retry_on_startup = True
broker_channel_error_retry = True
broker_transport_options = _transport_options(broker_url)
broker_heartbeat = 30.0  # RabbitMQ only: what freezes is noticed within a minute
redis_socket_timeout = 10.0
redis_socket_connect_timeout = 5.0
redis_socket_keepalive = True

# Queues: `router`, `maint` and the foreign producers' `points` here, one for each destination of the routes
# file in workers.tasks.
imports = ["workers.tasks", "workers.doors"]
task_create_missing_queues = False
task_queues = [_queue("router"), _queue("maint"), _queue(_POINTS)]
task_default_queue = "router"
task_routes = {_TASK: {"queue": _POINTS}, "router.*": {"queue": "router"}, "maint.*": {"queue": "maint"}}

# A message lost or doubled must cost nothing but time.
task_acks_late = True
task_reject_on_worker_lost = task_retry_on_worker_lost = True
task_ignore_result = True
task_time_limit = _s.task_time_limit
task_send_sent_event = False
result_expires = 600

worker_pool_start_method = "spawn"
worker_proc_alive_timeout = 60.0  # a busy machine takes longer than the usual 4 s to import everything
worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False
worker_soft_shutdown_timeout = _s.task_time_limit
worker_enable_soft_shutdown_on_idle = True
worker_hijack_root_logger = False
worker_send_task_events = True
worker_eta_task_limit = 1000

# Beat: ticks that come too late are not worth doing.
timezone = "UTC"
enable_utc = True
beat_max_loop_interval = 1.0
beat_scheduler = "celery.beat:Scheduler"  # in memory: a tick a second needs no memory of the last one
beat_schedule = {
    "sweep": {"task": "maint.sweep", "schedule": 1.0, "options": {"expires": 2.0, "ignore_result": True}}
}
