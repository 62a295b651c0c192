package redisurl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
)

// urlTLS takes the parameters ca, cert, key, server_name and insecure_skip_verify out
// of query. The result is nil without TLS.
func urlTLS(query url.Values, secure bool) (*tlsFiles, error) {
	ca, cert, key, name, insecure := pop(query, "ca"), pop(query, "cert"), pop(query, "key"), pop(query, "server_name"), pop(query, "insecure_skip_verify")
	if query.Has("skip_verify") {
		return nil, errors.New("has skip_verify: write insecure_skip_verify=true, if there is no way to give ca=FILE")
	}
	if !secure {
		if ca+cert+key+name+insecure != "" {
			return nil, errors.New("has ca, cert, key, server_name or insecure_skip_verify, which need rediss://: " + urlExamples)
		}
		return nil, nil
	}
	f := &tlsFiles{ca: ca, cert: cert, key: key, config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}}
	if insecure != "" {
		var err error
		if f.config.InsecureSkipVerify, err = strconv.ParseBool(insecure); err != nil {
			return nil, errors.New("has an insecure_skip_verify that is neither true nor false")
		}
	}
	if err := f.refresh(); err != nil {
		return nil, err
	}
	return f, nil
}

// tlsFiles is a TLS configuration whose certificates lie in files that are renewed
// while the program runs. Its methods may be called concurrently.
type tlsFiles struct {
	ca, cert, key string // names of files, or ""

	mu     sync.Mutex
	config *tls.Config // of the last files that were in order; never changed, only replaced
	seen   []os.FileInfo
}

// latest returns the configuration by what lies on disk now. Files that are missing,
// half written or do not belong together leave it as it was; the next call looks again.
func (f *tlsFiles) latest() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.refresh()
	return f.config
}

// connect returns the configuration of a connection to addr. Unless the URL names one
// server for all, the certificate must be of the host that is dialled.
func (f *tlsFiles) connect(addr string) *tls.Config {
	config := f.latest()
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr)
	return config
}

// refresh reads the files again if one of them is not the one that was read. They are
// looked at before they are read, so that a change in between is seen the next time.
func (f *tlsFiles) refresh() error {
	ca, errCA := stat(f.ca)
	cert, errCert := stat(f.cert)
	key, errKey := stat(f.key)
	if errCA != nil {
		return fmt.Errorf("ca: %w", errCA)
	}
	if err := errors.Join(errCert, errKey); err != nil {
		return fmt.Errorf("cert and key: %w", err)
	}
	found := []os.FileInfo{ca, cert, key}
	if f.seen != nil && same(f.seen, found) {
		return nil
	}
	config := f.config.Clone()
	if err := f.readInto(config); err != nil {
		return err
	}
	f.config, f.seen = config, found
	return nil
}

func (f *tlsFiles) readInto(config *tls.Config) error {
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s has no PEM certificate", f.ca)
		}
	}
	if f.cert != "" || f.key != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return fmt.Errorf("cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// stat returns nil for no file.
func stat(name string) (os.FileInfo, error) {
	if name == "" {
		return nil, nil
	}
	return os.Stat(name)
}

// same tells whether nothing says that a file was replaced or written to.
func same(before, now []os.FileInfo) bool {
	for i, was := range before {
		if is := now[i]; was != nil && (!os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) || was.Size() != is.Size()) {
			return false
		}
	}
	return true
}
