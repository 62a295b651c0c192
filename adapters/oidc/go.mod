module github.com/redsession/redsession/adapters/oidc

go 1.26.0

require (
	github.com/alicebob/miniredis/v2 v2.40.0
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/redsession/redsession v0.0.0
)

replace github.com/redsession/redsession => ../..
