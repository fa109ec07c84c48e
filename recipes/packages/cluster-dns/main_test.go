package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const written = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . 192.0.2.1 192.0.2.2:5353 {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
`

func TestTheCorefileOfKubeadmIsRead(t *testing.T) {
	config, err := parseCorefile(written)
	expected := &corefile{zone: "cluster.local.", upstreams: []string{"192.0.2.1:53", "192.0.2.2:5353"}}
	if err != nil || !reflect.DeepEqual(config, expected) {
		t.Fatalf("%+v %v", config, err)
	}
}

func TestWhatTheCorefileAsksForInVainIsSaid(t *testing.T) {
	for text, expected := range map[string]string{
		strings.Replace(written, "loop", "rewrite name a b", 1): "17: there is no plugin `rewrite` here",
		written + "example.org:53 {\n}\n":                       "21: one server, `.:53`, is all that there is",
		strings.Replace(written, "192.0.2.1 ", "x ", 1):         "13: `x` is no address",
		".:53 {\n}\n": "1: no `kubernetes ZONE`",
	} {
		if _, err := parseCorefile(text); err == nil || err.Error() != expected {
			t.Errorf("%v, should be %s", err, expected)
		}
	}
}

// listed is what a test knows.
type listed map[string]interface{}

func (listed listed) get(namespace, name string) interface{} { return listed[namespace+"/"+name] }

func (listed listed) hasNamespace(name string) bool {
	for key := range listed {
		if strings.HasPrefix(key, name+"/") {
			return true
		}
	}
	return false
}

func (listed listed) having(reverse string) []interface{} {
	var objects []interface{}
	for _, object := range listed {
		addresses, _ := addressesOfService(object)
		more, _ := addressesOfEndpoints(object)
		for _, address := range append(addresses, more...) {
			if address == reverse {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

func cluster() *zone {
	service := func(name string, spec core.ServiceSpec) *core.Service {
		return &core.Service{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}
	}
	return &zone{
		name: "cluster.local.",
		services: listed{
			"shop/web": service("web", core.ServiceSpec{
				ClusterIP: "10.96.0.7", Ports: []core.ServicePort{{Name: "http", Protocol: "TCP", Port: 80}},
			}),
			"shop/six":  service("six", core.ServiceSpec{ClusterIP: "fd00::7"}),
			"shop/db":   service("db", core.ServiceSpec{ClusterIP: "None"}),
			"shop/idle": service("idle", core.ServiceSpec{ClusterIP: "None"}),
			"shop/far":  service("far", core.ServiceSpec{Type: "ExternalName", ExternalName: "example.org"}),
		},
		endpoints: listed{"shop/db": &core.Endpoints{
			ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "db"},
			Subsets: []core.EndpointSubset{{
				Addresses: []core.EndpointAddress{{IP: "10.244.0.3", Hostname: "db-0"}, {IP: "10.244.0.4"}},
				Ports:     []core.EndpointPort{{Name: "sql", Protocol: "TCP", Port: 5432}},
			}},
		}},
	}
}

func TestNamesAreAnsweredAsTheSpecificationSays(t *testing.T) {
	for _, one := range []struct {
		name     string
		kind     uint16
		expected string
	}{
		{"web.shop.svc", dns.TypeA, "A 10.96.0.7"},
		{"WEB.shop.svc", dns.TypeA, "A 10.96.0.7"},
		{"web.shop.svc", dns.TypeAAAA, "nothing"},
		{"six.shop.svc", dns.TypeAAAA, "AAAA fd00::7"},
		{"_http._tcp.web.shop.svc", dns.TypeSRV, "SRV 0 100 80 web.shop.svc.cluster.local."},
		{"_http._udp.web.shop.svc", dns.TypeSRV, "NXDOMAIN"},
		{"db.shop.svc", dns.TypeA, "A 10.244.0.3, A 10.244.0.4"},
		{"db-0.db.shop.svc", dns.TypeA, "A 10.244.0.3"},
		{"10-244-0-4.db.shop.svc", dns.TypeA, "A 10.244.0.4"},
		{"db-1.db.shop.svc", dns.TypeA, "NXDOMAIN"},
		{
			"_sql._tcp.db.shop.svc", dns.TypeSRV,
			"SRV 0 100 5432 db-0.db.shop.svc.cluster.local., SRV 0 100 5432 10-244-0-4.db.shop.svc.cluster.local.",
		},
		{"idle.shop.svc", dns.TypeA, "nothing"},
		{"far.shop.svc", dns.TypeA, "CNAME example.org."},
		{"10-244-0-9.shop.pod", dns.TypeA, "A 10.244.0.9"},
		{"fd00--9.shop.pod", dns.TypeAAAA, "AAAA fd00::9"},
		{"x.shop.pod", dns.TypeA, "NXDOMAIN"},
		{"shop.svc", dns.TypeA, "nothing"},
		{"stop.svc", dns.TypeA, "NXDOMAIN"},
		{"svc", dns.TypeA, "nothing"},
		{"web.stop.svc", dns.TypeA, "NXDOMAIN"},
		{"google.com", dns.TypeA, "NXDOMAIN"},
		{"dns-version", dns.TypeTXT, "TXT \"1.1.0\""},
	} {
		answer := cluster().answer(new(dns.Msg).SetQuestion(one.name+".cluster.local.", one.kind))
		if told := tell(answer); told != one.expected {
			t.Errorf("%s: %s, should be %s", one.name, told, one.expected)
		}
	}
}

func TestAddressesLeadBack(t *testing.T) {
	for name, expected := range map[string]string{
		"7.0.96.10.in-addr.arpa.":   "[web.shop.svc.cluster.local.]",
		"3.0.244.10.in-addr.arpa.":  "[db-0.db.shop.svc.cluster.local.]",
		"1.2.0.192.in-addr.arpa.":   "[]",
		"nonsense.of.in-addr.arpa.": "[]",
	} {
		if names := fmt.Sprint(cluster().names(name)); names != expected {
			t.Errorf("%s: %s, should be %s", name, names, expected)
		}
	}
}

func tell(answer *dns.Msg) string {
	var records []string
	for _, record := range answer.Answer {
		text := strings.TrimPrefix(record.String(), record.Header().String())
		records = append(records, dns.TypeToString[record.Header().Rrtype]+" "+text)
	}
	switch {
	case answer.Rcode == dns.RcodeNameError:
		return "NXDOMAIN"
	case len(records) == 0 && len(answer.Ns) == 1:
		return "nothing"
	}
	return strings.Join(records, ", ")
}
