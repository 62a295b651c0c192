package overhttp

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/redsession/redsession/benchmarks/internal/floor"
	"github.com/redsession/redsession/benchmarks/internal/peer"
)

type serveOrders struct {
	Subject string
	Redis   string
}

// serve answers HTTP until standard input ends. It says where.
func serve(in *bufio.Reader) error {
	var o serveOrders
	if err := orders(in, &o); err != nil {
		return err
	}
	mux, closeSubject, err := open(o)
	if err != nil {
		return err
	}
	defer closeSubject()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// A generator that leaves in the middle of a request makes some peers' handlers complain.
	server := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	if err := answer(listener.Addr().String()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in)
	return server.Close()
}

func open(o serveOrders) (http.Handler, func() error, error) {
	mux := http.NewServeMux()
	if p, err := peer.Named(o.Subject); err == nil {
		site, err := p.Open(peer.Settings{Addr: o.Redis})
		if err != nil {
			return nil, nil, err
		}
		mux.Handle("/login", site.Login)
		mux.Handle("/read", site.Read)
		return mux, site.Close, nil
	}
	f, err := floor.Named(o.Subject)
	if err != nil {
		return nil, nil, err
	}
	read, closeClient, err := f.Open(o.Redis)
	if err != nil {
		return nil, nil, err
	}
	mux.Handle("/login", floorHandler(func(context.Context) error { return nil }))
	mux.Handle("/read", floorHandler(read))
	return mux, closeClient, nil
}

func floorHandler(read func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := read(r.Context()); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
