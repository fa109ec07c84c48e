package main

import (
	"net"
	"strings"

	"github.com/miekg/dns"
	core "k8s.io/api/core/v1"
)

const ttl = 30

// objects are Services or Endpoints.
type objects interface {
	get(namespace, name string) interface{}
	// having gives those with an address, which is asked for by its name in `in-addr.arpa.` or `ip6.arpa.`.
	having(reverse string) []interface{}
	hasNamespace(name string) bool
}

// zone is a cluster's names.
type zone struct {
	name                string
	services, endpoints objects
}

// target is a name with one of its addresses, or with the name that it stands for.
type target struct {
	name, address, alias string
	ports                []port
}

type port struct {
	name, protocol string
	number         uint16
}

// handler answers for the zone; what ExternalName Services stand for is asked of `elsewhere`.
func (zone *zone) handler(elsewhere func(*dns.Msg) *dns.Msg) dns.HandlerFunc {
	return func(writer dns.ResponseWriter, question *dns.Msg) {
		answer := zone.answer(question)
		if last := len(answer.Answer) - 1; last >= 0 && question.Question[0].Qtype != dns.TypeCNAME {
			if alias, ok := answer.Answer[last].(*dns.CNAME); ok && !dns.IsSubDomain(zone.name, alias.Target) {
				further := new(dns.Msg).SetQuestion(alias.Target, question.Question[0].Qtype)
				answer.Answer = append(answer.Answer, elsewhere(further).Answer...)
			}
		}
		write(writer, question, answer)
	}
}

// answer answers a question about a name in the zone.
func (zone *zone) answer(question *dns.Msg) *dns.Msg {
	answer := new(dns.Msg).SetReply(question)
	answer.Authoritative, answer.RecursionAvailable = true, true
	asked := question.Question[0]
	known, records := zone.records(strings.ToLower(asked.Name), asked.Name)
	for _, record := range records {
		kind := record.Header().Rrtype
		if kind == asked.Qtype || kind == dns.TypeCNAME || asked.Qtype == dns.TypeANY {
			answer.Answer = append(answer.Answer, record)
		}
	}
	if !known {
		answer.Rcode = dns.RcodeNameError
	}
	if len(answer.Answer) == 0 {
		answer.Ns = []dns.RR{zone.authority()}
	}
	return answer
}

// records gives all that there is of a name, and tells whether there is such a name.
func (zone *zone) records(name, asked string) (bool, []dns.RR) {
	if name == zone.name {
		return true, []dns.RR{zone.authority()}
	}
	labels := dns.SplitDomainName(strings.TrimSuffix(name, "."+zone.name))
	count := len(labels)
	head := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: asked, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
	}
	last := labels[count-1]
	switch {
	case last == "dns-version" && count == 1:
		return true, []dns.RR{&dns.TXT{Hdr: head(dns.TypeTXT), Txt: []string{"1.1.0"}}}
	case (last == "svc" || last == "pod") && count == 1:
		return true, nil
	case last != "svc" && last != "pod":
		return false, nil
	case count == 2:
		return zone.services.hasNamespace(labels[0]), nil
	case last == "pod":
		if address := addressOf(labels[0]); address != nil && count == 3 {
			return true, []dns.RR{addressRecord(head, address)}
		}
		return false, nil
	}
	namespace, service, more := labels[count-2], labels[count-3], labels[:count-3]
	targets := zone.targets(namespace, service)
	if targets == nil {
		return false, nil
	}
	var records []dns.RR
	for _, target := range targets {
		switch {
		case len(more) == 0 && target.alias != "":
			records = append(records, &dns.CNAME{Hdr: head(dns.TypeCNAME), Target: target.alias})
		case len(more) == 0, len(more) == 1 && target.name == name:
			if address := net.ParseIP(target.address); address != nil {
				records = append(records, addressRecord(head, address))
			}
		case len(more) == 2:
			for _, port := range target.ports {
				if more[0] == "_"+port.name && more[1] == "_"+port.protocol {
					records = append(records, &dns.SRV{
						Hdr: head(dns.TypeSRV), Weight: 100, Port: port.number, Target: target.name,
					})
				}
			}
		}
	}
	return len(more) == 0 || len(records) > 0, records
}

// targets gives what a Service leads to; nil if there is no such Service.
func (zone *zone) targets(namespace, name string) []target {
	service, ok := zone.services.get(namespace, name).(*core.Service)
	if !ok {
		return nil
	}
	own := name + "." + namespace + ".svc." + zone.name
	if service.Spec.Type == core.ServiceTypeExternalName {
		return []target{{name: own, alias: dns.Fqdn(service.Spec.ExternalName)}}
	}
	if service.Spec.ClusterIP != core.ClusterIPNone {
		var ports []port
		for _, one := range service.Spec.Ports {
			ports = append(ports, port{one.Name, strings.ToLower(string(one.Protocol)), uint16(one.Port)})
		}
		return []target{{name: own, address: service.Spec.ClusterIP, ports: ports}}
	}
	targets := []target{}
	endpoints, _ := zone.endpoints.get(namespace, name).(*core.Endpoints)
	if endpoints == nil {
		return targets
	}
	for _, subset := range endpoints.Subsets {
		var ports []port
		for _, one := range subset.Ports {
			ports = append(ports, port{one.Name, strings.ToLower(string(one.Protocol)), uint16(one.Port)})
		}
		for _, address := range subset.Addresses {
			targets = append(targets, target{name: hostOf(address) + "." + own, address: address.IP, ports: ports})
		}
	}
	return targets
}

// reverse answers for addresses; those that are not the cluster's are another's matter.
func (zone *zone) reverse(others dns.Handler) dns.HandlerFunc {
	return func(writer dns.ResponseWriter, question *dns.Msg) {
		asked := question.Question[0]
		names := zone.names(strings.ToLower(asked.Name))
		if len(names) == 0 || asked.Qtype != dns.TypePTR {
			others.ServeDNS(writer, question)
			return
		}
		answer := new(dns.Msg).SetReply(question)
		answer.Authoritative, answer.RecursionAvailable = true, true
		for _, name := range names {
			header := dns.RR_Header{Name: asked.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
			answer.Answer = append(answer.Answer, &dns.PTR{Hdr: header, Ptr: name})
		}
		write(writer, question, answer)
	}
}

// names gives the names that lead to an address.
func (zone *zone) names(reverse string) []string {
	var names []string
	for _, object := range zone.services.having(reverse) {
		if service, ok := object.(*core.Service); ok {
			names = append(names, service.Name+"."+service.Namespace+".svc."+zone.name)
		}
	}
	for _, object := range zone.endpoints.having(reverse) {
		endpoints, ok := object.(*core.Endpoints)
		if !ok {
			continue
		}
		for _, target := range zone.targets(endpoints.Namespace, endpoints.Name) {
			if name, err := dns.ReverseAddr(target.address); err == nil && name == reverse {
				names = append(names, target.name)
			}
		}
	}
	return names
}

func (zone *zone) authority() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone.name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns.dns." + zone.name, Mbox: "hostmaster." + zone.name,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}

func addressRecord(head func(uint16) dns.RR_Header, address net.IP) dns.RR {
	if four := address.To4(); four != nil {
		return &dns.A{Hdr: head(dns.TypeA), A: four}
	}
	return &dns.AAAA{Hdr: head(dns.TypeAAAA), AAAA: address}
}

// hostOf gives an endpoint's label: its host name, else its address with dashes.
func hostOf(address core.EndpointAddress) string {
	if address.Hostname != "" {
		return address.Hostname
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(address.IP)
}

// addressOf reads an address with dashes.
func addressOf(label string) net.IP {
	if address := net.ParseIP(strings.ReplaceAll(label, "-", ".")); address != nil {
		return address
	}
	return net.ParseIP(strings.ReplaceAll(label, "-", ":"))
}
