package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TLSServer is a Redis that speaks nothing but TLS. Its certificate is for 127.0.0.1 and localhost.
type TLSServer struct {
	*Server
	// CAFile holds the authority that issued all certificates here; no system trusts it.
	CAFile string
	// CertFile and KeyFile are a client's, from the same authority.
	CertFile, KeyFile string
	// Config trusts the authority and presents the client's certificate.
	Config *tls.Config
}

// StartTLS starts a Redis that takes TLS connections only. A client's certificate is checked when there is one; with
// the args "--tls-auth-clients", "yes" it is required.
func StartTLS(t testing.TB, args ...string) *TLSServer {
	t.Helper()
	requireRedis(t)
	dir := t.TempDir()
	authority := newAuthority(t)
	serverCert, serverKey := authority.issue(t, dir, "server", x509.ExtKeyUsageServerAuth)
	s := &TLSServer{CAFile: filepath.Join(dir, "ca.crt")}
	s.CertFile, s.KeyFile = authority.issue(t, dir, "client", x509.ExtKeyUsageClientAuth)
	writePEM(t, s.CAFile, "CERTIFICATE", authority.cert.Raw)
	s.Config = clientConfig(t, authority.cert, s.CertFile, s.KeyFile)

	s.Server = launch(t, func(port int) flavour {
		own := append(
			volatileArgs(t), "--bind", "127.0.0.1", "--port", "0", "--tls-port", fmt.Sprint(port),
			"--tls-cert-file", serverCert, "--tls-key-file", serverKey,
			"--tls-ca-cert-file", s.CAFile, "--tls-auth-clients", "optional",
		)
		return flavour{addr: loopback(port), url: "rediss://" + loopback(port), args: append(own, args...), tls: s.Config}
	})
	return s
}

func clientConfig(t testing.TB, ca *x509.Certificate, certFile, keyFile string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatalf("redistest: loading the client's certificate: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		ServerName:   "127.0.0.1",
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	template := certificateTemplate("redistest CA")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatalf("redistest: signing the CA: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("redistest: parsing the CA: %v", err)
	}
	return authority{cert: cert, key: key}
}

// issue writes a certificate for this machine's loopback and its key to dir.
func (a authority) issue(t testing.TB, dir, name string, usage x509.ExtKeyUsage) (certFile, keyFile string) {
	t.Helper()
	template := certificateTemplate("redistest " + name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.DNSNames = []string{"localhost"}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatalf("redistest: signing the certificate of the %s: %v", name, err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("redistest: encoding the key of the %s: %v", name, err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", secret)
	return certFile, keyFile
}

func certificateTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("redistest: generating a key: %v", err)
	}
	return key
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatalf("redistest: writing a certificate: %v", err)
	}
}
