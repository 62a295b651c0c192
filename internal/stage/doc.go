// Package stage is what the black-box suites of package redsession share: a Redis with a clock ([Env], on miniredis, on
// redis-server and on the flavours of Redis), browsers with a cookie jar ([Browser]) whose requests tell their handler
// what to do ([Scripted]) and can be held there ([Gate]), what was sent to Redis ([Counter]) and said of it ([EventLog]), exchanges with
// Redis that are held back ([Latch]) or cut ([Env.Behind], [Outage]), and the check that no suite logs a secret ([Main]).
package stage
