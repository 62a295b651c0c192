package redistest_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

func TestTLSFilesServeAClient(t *testing.T) {
	t.Parallel()
	s := redistest.StartTLS(t, "--tls-auth-clients", "yes")
	roots := authorities(t, s.CAFile)
	pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	clients := []struct {
		name   string
		config *tls.Config
		works  bool
	}{
		{"the CA and the client's certificate are enough", &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, true},
		{"localhost is a name of the server", &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}, true},
		{"a client without a certificate is refused", &tls.Config{RootCAs: roots}, false},
		{"a client that does not know the CA refuses", &tls.Config{Certificates: []tls.Certificate{pair}}, false},
	}
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			options, err := redis.ParseURL(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if client.config.ServerName == "" {
				client.config.ServerName = options.TLSConfig.ServerName
			}
			options.TLSConfig = client.config
			options.MaxRetries = -1
			c := redis.NewClient(options)
			defer c.Close()
			if err := c.Ping(t.Context()).Err(); (err == nil) != client.works {
				t.Errorf("PING: got %v, want success %v", err, client.works)
			}
		})
	}
}

func authorities(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the CA file holds no certificate")
	}
	return roots
}

func TestTLSClientMayComeWithoutACertificate(t *testing.T) {
	t.Parallel()
	s := redistest.StartTLS(t)
	client := redis.NewClient(&redis.Options{
		Addr:      s.Addr,
		TLSConfig: &tls.Config{RootCAs: s.Config.RootCAs, ServerName: "127.0.0.1"},
	})
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING: %v", err)
	}
}
