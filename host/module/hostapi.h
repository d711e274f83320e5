/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of the services in struct soth_host (soth/sdk.h has their contracts), each in a file of its own. */
#ifndef HOST_MODULE_HOSTAPI_H
#define HOST_MODULE_HOSTAPI_H

#include <soth/sdk.h>

/* hostapi_flow.c: what a hook may do with its flow */
struct soth_token api_token(void *self, struct soth_flow *flow, uint32_t deadline_ms, uint32_t on_timeout);
int api_resumed(struct soth_flow *flow, uint64_t *arg);
uint64_t api_flow_id(const struct soth_flow *flow);
void *api_flow_state(struct soth_flow *flow);
int api_emit(void *self, struct soth_flow *flow, uint32_t kind, const struct soth_attr *attrs, size_t n);
int api_form(void *self, uint32_t kind, const struct soth_attr *attrs, size_t n);
int api_emit_form(void *self, struct soth_flow *flow, int form, const union soth_value *values, uint64_t present);
uint64_t api_flow_ns(const struct soth_flow *flow);
int api_wanted(const struct soth_flow *flow, uint32_t kind);
uint64_t api_payload_most(const struct soth_flow *flow, uint32_t kind);
void api_protocol(struct soth_flow *flow, uint32_t protocol);
uint64_t api_unix_ms(const struct soth_flow *flow);
void api_ended(struct soth_flow *flow, const char *why);
struct soth_span api_hdr_get(struct soth_flow *flow, const char *name, uint32_t nth);
int api_hdr_set(struct soth_flow *flow, const char *name, struct soth_span value);
int api_hdr_add(struct soth_flow *flow, const char *name, struct soth_span value);
int api_hdr_del(struct soth_flow *flow, const char *name);
int api_set_target(struct soth_flow *flow, struct soth_span host, uint32_t port, struct soth_span path);

/* registry_life.c: what a source has to say */
int api_signal(void *self, const struct soth_signal *signal);

#endif
