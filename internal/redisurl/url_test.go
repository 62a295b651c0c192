package redisurl_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redisurl"
	"github.com/redsession/redsession/internal/topology"
)

func TestHostsAndCredentials(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, url, addrs, user, password string }{
		{"credentials once", "redis+cluster://u:pw@h1,h2", "h1:6379,h2:6379", "u", "pw"},
		{"the same credentials before each host", "redis+cluster://u:pw@h1:7000,u:pw@h2", "h1:7000,h2:6379", "u", "pw"},
		{"the same credentials before some hosts", "redis+cluster://u:pw@h1,h2,u:pw@h3", "h1:6379,h2:6379,h3:6379", "u", "pw"},
		{"an @ in the password, and several hosts", "redis+cluster://u:p@w@h1,h2", "h1:6379,h2:6379", "u", "p@w"},
		{"the same password with an @ before each host", "redis+cluster://u:p@w@h1,u:p@w@h2", "h1:6379,h2:6379", "u", "p@w"},
		{"a comma in the password", "redis+cluster://u:p,w@h1,h2", "h1:6379,h2:6379", "u", "p,w"},
		{"an encoded comma and @ in the password", "redis+cluster://u:p%2C%40w@h1,h2", "h1:6379,h2:6379", "u", "p,@w"},
		{"a comma in the password of one server", "redis://u:p,w@h1", "h1:6379", "u", "p,w"},
		{"white space around the URL", " \tredis+cluster://u:pw@h1,h2\r\n", "h1:6379,h2:6379", "u", "pw"},
		{"white space around hosts", "redis+cluster://u:pw@h1, h2 ,h3/", "h1:6379,h2:6379,h3:6379", "u", "pw"},
		{"a line feed behind one server", "redis://u:pw@h1\n", "h1:6379", "u", "pw"},
		{"IPv6 in several hosts", "redis+cluster://u:pw@[::1]:1,u:pw@[::2]", "[::1]:1,[::2]:6379", "u", "pw"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			client, err := redisurl.Client(row.url, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var addrs, user, word string
			switch c := client.(type) {
			case *redis.ClusterClient:
				addrs, user, word = strings.Join(c.Options().Addrs, ","), c.Options().Username, c.Options().Password
			case *redis.Client:
				addrs, user, word = c.Options().Addr, c.Options().Username, c.Options().Password
			}
			if addrs != row.addrs || user != row.user || word != row.password {
				t.Errorf("got %s, user %q and password %q, want %s, %q and %q", addrs, user, word, row.addrs, row.user, row.password)
			}
		})
	}
}

func TestHostsAreNeverTakenForCredentials(t *testing.T) {
	t.Parallel()
	const twice = "credentials behind a comma"
	for _, row := range []struct{ name, url, want string }{
		{"other credentials before the second host", "redis+cluster://u:hunter2@h1,v:hunter2@h2", twice},
		{"another password before the second host", "redis+cluster://u:hunter2@h1,u:hunter3@h2", twice},
		{"credentials before the last host alone", "redis+cluster://h1,u:hunter2@h2", twice},
		{"credentials before the last host alone, with ports", "redis+cluster://h1:6379,u:hunter2@h2:6379", twice},
		{"credentials before the last host alone, IPv6", "redis+cluster://[::1]:6379,u:hunter2@h2:6379", twice},
		{"credentials before all but the first host", "redis+cluster://h1,u:hunter2@h2,u:hunter2@h3", twice},
		{"an empty first host", "redis+cluster://,u:hunter2@h2", twice},
		{"sentinels with other credentials", "redis+sentinel://u:hunter2@h1,v:hunter2@h2/main", twice},
		{"one server with other credentials", "redis://u:hunter2@h1,v:hunter2@h2", twice},
		{"one server and a host before the credentials", "redis://h1:6379,u:hunter2@h2", twice},
		{"one server and the same credentials twice", "redis://u:hunter2@h1,u:hunter2@h2", "several hosts"},
		{"a password with both a comma and an @", "redis://:hunter2@,hunter2@h", twice},
		{"white space within a host", "redis+cluster://h1,h 2", "something else where a host belongs"},
		{"a line feed within the list", "redis+cluster://h1,h2\n:7000,h3", "something else where a host belongs"},
		{"a word for the port of the second host", "redis+cluster://h1,h2:port", "something else where a host belongs"},
		{"nothing but white space", " \n", "scheme"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := redisurl.Client(row.url, time.Second)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got error %v, want %q in it", err, row.want)
			}
			showsNone(t, err.Error())
		})
	}
}

func TestClientsOfAURLTellTheirTopology(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, url, want string
		cluster         bool
	}{
		{"one server", "redis://u:hunter2@h:7000/3", "h:7000 database 3", false},
		{"one server with TLS", "rediss://u:hunter2@h", "h:6379 database 0", false},
		{"a socket", "unix://u:hunter2@/run/s?db=1", "/run/s database 1", false},
		{"a cluster", "redis+cluster://u:hunter2@h1,h2", "cluster h1:6379,h2:6379", true},
		{"sentinels", "redis+sentinel://u:hunter2@h1,h2/main/4", "the primary that sentinels name, database 4", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			client, err := redisurl.Client(row.url, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			topo, err := topology.Of(client)
			if err != nil {
				t.Fatal(err)
			}
			if got := topo.String(); got != row.want || topo.Cluster() != row.cluster || !topo.HonoursContext() {
				t.Errorf("got %q, cluster %t, honours contexts %t, want %q, %t, true", got, topo.Cluster(), topo.HonoursContext(), row.want, row.cluster)
			}
		})
	}
}
