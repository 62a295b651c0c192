# Makes python.json, with a Redis on its usual port and Debian 12's packages python3-django, python3-django-redis,
# python3-flask-session, python3-msgpack and python3-redis:
#   /usr/bin/python3 python.py
import base64, json, sys

import redis

out = {}
client = redis.Redis()
client.flushdb()
if len(sys.argv) == 1:
    # Django is configured once in a process.
    import subprocess
    for what in ['flask', 'flask signed', 'flask msgpack', 'flask json',
                 'django pickle', 'django json', 'django zlib', 'django encoded']:
        out[what] = json.loads(subprocess.check_output([sys.executable, __file__, what]))
    with open('python.json', 'w') as f:
        json.dump(out, f, indent=1)
        f.write('\n')
    sys.exit()

kind, _, how = sys.argv[1].partition(' ')
values = {'user_id': 42, 'name': 'ada', 'cart': [{'sku': 'é1', 'n': 2}]}
if kind == 'flask':
    from flask import Flask, session
    from flask_session import Session

    app = Flask(__name__)
    app.config.update(SESSION_TYPE='redis', SESSION_REDIS=client, SECRET_KEY='keyboard cat', SESSION_USE_SIGNER=how == 'signed')
    Session(app)
    if how == 'msgpack':  # the serializer of Flask-Session 0.6 and later, whose msgspec writes the same bytes
        import msgpack
        app.session_interface.serializer = type('S', (), {'dumps': staticmethod(msgpack.packb), 'loads': staticmethod(msgpack.unpackb)})
    if how == 'json':
        app.session_interface.serializer = type('S', (), {'dumps': staticmethod(lambda v: json.dumps(v).encode()), 'loads': staticmethod(json.loads)})

    @app.route('/')
    def index():
        session.update(values)
        return 'ok'

    response = app.test_client().get('/')
    cookie = response.headers['Set-Cookie'].split(';')[0].split('=', 1)[1]
else:
    import django
    from django.conf import settings

    options = {'json': {'SERIALIZER': 'django_redis.serializers.json.JSONSerializer'},
               'zlib': {'SERIALIZER': 'django_redis.serializers.json.JSONSerializer', 'COMPRESSOR': 'django_redis.compressors.zlib.ZlibCompressor'}}
    settings.configure(SECRET_KEY='keyboard cat', SESSION_ENGINE='django.contrib.sessions.backends.cache', ALLOWED_HOSTS=['*'],
                       DEFAULT_AUTO_FIELD='django.db.models.AutoField', ROOT_URLCONF=__name__, MIDDLEWARE=['django.contrib.sessions.middleware.SessionMiddleware'],
                       CACHES={'default': {'BACKEND': 'django_redis.cache.RedisCache', 'LOCATION': 'redis://127.0.0.1:6379/0', 'OPTIONS': options.get(how, {})}})
    django.setup()
    from django.contrib.sessions.backends.cache import SessionStore
    from django.http import HttpResponse
    from django.test import Client
    from django.urls import path

    def index(request):
        request.session.update({**values, '_auth_user_id': '7', '_auth_user_backend': 'django.contrib.auth.backends.ModelBackend'})
        return HttpResponse('ok')

    urlpatterns = [path('', index)]
    browser = Client()
    browser.get('/')
    cookie = browser.cookies['sessionid'].value
    if how == 'encoded':  # what engines keep that write SessionStore.encode to Redis themselves
        key = client.keys('*')[0]
        store = SessionStore(cookie)
        client.set(key, store.encode(store.load()), ex=1209600)

key = client.keys('*')[0]
print(json.dumps({'cookie': cookie, 'key': key.decode(), 'value': base64.b64encode(client.get(key)).decode(), 'ttl': client.ttl(key)}))
