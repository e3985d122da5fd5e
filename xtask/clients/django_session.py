"""What a Django application does with its database: migrations, models, transactions, server-side cursors, many short requests."""

import os
import threading

import django
from django.conf import settings
from django.core.management import call_command

from check import CA, CHECKS, PARAMETERS, check, failed, finish


def database(**more):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": PARAMETERS["dbname"],
        "USER": PARAMETERS["user"],
        "PASSWORD": PARAMETERS["password"],
        "HOST": PARAMETERS["host"],
        "PORT": PARAMETERS["port"],
        **more,
    }


def options(**more):
    return {"sslmode": "verify-full", "sslrootcert": CA, "options": "-c search_path=django,public", **more}


settings.configure(
    DATABASES={
        # A connection for each request, connections that persist, and statements bound and prepared at the server.
        "default": database(CONN_MAX_AGE=0, OPTIONS=options()),
        "persistent": database(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True, OPTIONS=options(isolation_level=3)),
        "bound": database(CONN_MAX_AGE=None, TIME_ZONE="Asia/Tokyo", OPTIONS=options(server_side_binding=True, prepare_threshold=0)),
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django.contrib.postgres"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    SECRET_KEY="of the tests",
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core import signals  # noqa: E402
from django.db import DatabaseError, IntegrityError, connection, connections, models, transaction  # noqa: E402


class Entry(models.Model):
    owner = models.ForeignKey(User, models.CASCADE, null=True)
    title = models.CharField(max_length=40, unique=True)
    balance = models.IntegerField(default=100)
    tags = ArrayField(models.TextField(), default=list)
    about = models.JSONField(default=dict)
    made = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "entries"


def setup():
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS django CASCADE")
        cursor.execute("CREATE SCHEMA django")
    call_command("migrate", verbosity=0, interactive=False)
    with connection.schema_editor() as editor:
        editor.create_model(Entry)


def teardown():
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA django CASCADE")
    connections.close_all()


def a_request(work):
    """Runs work as a request does: connections are looked after before it and after it."""
    signals.request_started.send(sender=None)
    try:
        work()
    finally:
        signals.request_finished.send(sender=None)


@check
def migrations_are_applied_and_can_go_back():
    applied = connection.introspection.table_names()
    assert "auth_user" in applied and "django_session" in applied, applied
    call_command("migrate", "sessions", "zero", verbosity=0)
    assert "django_session" not in connection.introspection.table_names()
    call_command("migrate", "sessions", verbosity=0)
    assert "django_session" in connection.introspection.table_names()


@check
def models_are_written_and_read():
    user = User.objects.create_user("anna", "anna@example.com", "secret")
    group, _ = Group.objects.get_or_create(name="editors")
    user.groups.add(group)
    Entry.objects.bulk_create([Entry(title=f"entry {n}", owner=user, tags=["a", str(n)], about={"n": n}) for n in range(500)], batch_size=100)
    assert Entry.objects.filter(tags__contains=["7"]).get().about == {"n": 7}
    assert Entry.objects.filter(about__n__lt=10).count() == 10
    assert Entry.objects.filter(owner__groups__name="editors").aggregate(sum=models.Sum("balance")) == {"sum": 50000}
    Entry.objects.filter(about__n=3).update(balance=models.F("balance") + 1)
    _, made = Entry.objects.update_or_create(title="entry 3", defaults={"balance": 100})
    assert not made


@check
def transactions_nest_and_roll_back():
    with transaction.atomic():
        Entry.objects.filter(title="entry 1").update(balance=50)
        try:
            with transaction.atomic():
                Entry.objects.create(title="entry 1")
            raise AssertionError("a title twice")
        except IntegrityError:
            pass
        assert Entry.objects.select_for_update().get(title="entry 1").balance == 50
        transaction.set_rollback(True)
    assert Entry.objects.get(title="entry 1").balance == 100
    done = []
    with transaction.atomic():
        transaction.on_commit(lambda: done.append(1))
        Entry.objects.filter(title="entry 2").update(balance=100)
    assert done == [1]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")
        raise AssertionError("divided by zero")
    except DatabaseError:
        pass
    assert Entry.objects.count() == 500


@check
def server_side_cursors_outside_of_and_in_transactions():
    for name in settings.DATABASES:
        entries = Entry.objects.using(name).order_by("id")
        both = zip(entries.iterator(chunk_size=30), entries.iterator(chunk_size=70), strict=True)
        assert sum(1 for a, b in both if a == b) == 500
        with transaction.atomic(using=name):
            assert sum(1 for _ in entries.iterator(chunk_size=30)) == 500
        # One that is left half read is closed with its generator.
        assert next(entries.iterator(chunk_size=10)).title == "entry 0"


@check
def each_connection_keeps_its_settings():
    for _ in range(10):
        for name, zone, isolation in (("default", "UTC", "read committed"), ("persistent", "UTC", "repeatable read"), ("bound", "Asia/Tokyo", "read committed")):
            with connections[name].cursor() as cursor:
                cursor.execute("SHOW timezone")
                assert cursor.fetchone() == (zone,)
                cursor.execute("SHOW search_path")
                assert cursor.fetchone() == ("django,public",)
            with transaction.atomic(using=name), connections[name].cursor() as cursor:
                cursor.execute("SHOW transaction_isolation")
                assert cursor.fetchone() == (isolation,)


@check
def sessions_are_saved():
    store = SessionStore()
    store["cart"] = [1, 2, 3]
    store.save()
    assert SessionStore(store.session_key)["cart"] == [1, 2, 3]
    store.flush()


@check
def many_requests_at_once():
    bad = []

    def work(number, name):
        def move():
            with transaction.atomic(using=name):
                entries = Entry.objects.using(name).order_by("id").select_for_update().filter(title__in=["entry 10", "entry 11"])
                one, two = entries if number % 2 else reversed(entries)
                Entry.objects.using(name).filter(id=one.id).update(balance=models.F("balance") - 1)
                Entry.objects.using(name).filter(id=two.id).update(balance=models.F("balance") + 1)
            assert Entry.objects.using(name).get(title=f"entry {number}").about == {"n": number}

        try:
            for _ in range(10):
                a_request(move)
        except Exception as error:
            bad.append(error)
        finally:
            connections.close_all()

    names = ["default", "bound"]
    threads = [threading.Thread(target=work, args=(n, names[n % 2])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not bad, bad
    assert Entry.objects.aggregate(sum=models.Sum("balance")) == {"sum": 50000}


@check
def the_schema_changes_under_prepared_statements():
    read = Entry.objects.using("bound").filter(title="entry 5")
    for n in range(3):
        assert read.values_list().get()
        field = models.IntegerField(null=True)
        field.set_attributes_from_name(f"extra_{n}")
        with connection.schema_editor() as editor:
            editor.add_field(Entry, field)
        assert read.get().title == "entry 5"
    with connection.schema_editor() as editor:
        editor.delete_model(Entry)


def main():
    os.environ.pop("PGOPTIONS", None)
    setup()
    bad = 0
    for function in CHECKS:
        try:
            function()
        except Exception:
            failed(function)
            bad += 1
    teardown()
    finish(bad)


main()
