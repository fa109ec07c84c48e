package main

import (
	"fmt"
	"io/ioutil"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// corefile is what kubeadm's Corefile says of a cluster.
type corefile struct {
	// The zone that is the cluster's, absolute.
	zone string
	// Who is asked about all others, as host:port.
	upstreams []string
}

// The plugins that kubeadm names and that change no answer of a server without a cache.
var harmless = map[string]bool{
	"errors": true, "health": true, "ready": true, "prometheus": true, "cache": true, "loop": true, "reload": true,
	"loadbalance": true,
}

func readCorefile(path string) (*corefile, error) {
	text, err := ioutil.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config, err := parseCorefile(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s:%v", path, err)
	}
	return config, nil
}

func parseCorefile(text string) (*corefile, error) {
	var config corefile
	depth := 0
	for index, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		opens, level := words[len(words)-1] == "{", depth
		switch {
		case words[0] == "}":
			depth--
			continue
		case opens:
			words = words[:len(words)-1]
			depth++
		}
		wrong := func(reason string) error { return fmt.Errorf("%d: %s", index+1, reason) }
		switch {
		case level == 0 && (len(words) != 1 || words[0] != ".:53"):
			return nil, wrong("one server, `.:53`, is all that there is")
		case level != 1 || harmless[words[0]]:
		case words[0] == "kubernetes" && len(words) > 1:
			config.zone = dns.Fqdn(strings.ToLower(words[1]))
		case words[0] == "forward" && len(words) > 2 && words[1] == ".":
			for _, to := range words[2:] {
				servers, err := upstreams(to)
				if err != nil {
					return nil, wrong(err.Error())
				}
				config.upstreams = append(config.upstreams, servers...)
			}
		default:
			return nil, wrong("there is no plugin `" + words[0] + "` here")
		}
	}
	if config.zone == "" {
		return nil, fmt.Errorf("1: no `kubernetes ZONE`")
	}
	return &config, nil
}

// upstreams gives the servers that an address or a resolv.conf stands for.
func upstreams(to string) ([]string, error) {
	if !strings.HasPrefix(to, "/") {
		if net.ParseIP(to) != nil {
			return []string{net.JoinHostPort(to, "53")}, nil
		}
		if _, _, err := net.SplitHostPort(to); err != nil {
			return nil, fmt.Errorf("`%s` is no address", to)
		}
		return []string{to}, nil
	}
	host, err := dns.ClientConfigFromFile(to)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, server := range host.Servers {
		all = append(all, net.JoinHostPort(server, host.Port))
	}
	return all, nil
}
