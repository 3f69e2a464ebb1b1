// JsSIP as in a browser's page, without media: its words on standard output, and commands on standard input.
// node browser.js URL USER PASSWORD DOMAIN
global.WebSocket = require('ws');
global.window = global;
const say = (...words) => console.log(words.join(' '));

// What JsSIP asks of a browser for its session descriptions.
class Connection {
  constructor() { this.iceGatheringState = 'complete'; this.iceConnectionState = 'new'; this.signalingState = 'stable'; }
  addEventListener() {} removeEventListener() {} close() { this.signalingState = 'closed'; }
  getSenders() { return []; } getReceivers() { return []; } addTrack() {}
  async createOffer() { return {type: 'offer', sdp: SDP}; }
  async createAnswer() { return {type: 'answer', sdp: SDP}; }
  async setLocalDescription(d) { this.localDescription = d; }
  async setRemoteDescription(d) { this.remoteDescription = d; }
}
const SDP = [
  'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
  'm=audio 40000 RTP/AVP 0', 'a=rtpmap:0 PCMU/8000', '',
].join('\r\n');
global.RTCPeerConnection = Connection;
global.RTCSessionDescription = class { constructor(d) { Object.assign(this, d); } };
Object.defineProperty(global, 'navigator', {value: {mediaDevices: {getUserMedia: async () => ({getTracks: () => []})}}, configurable: true});

const JsSIP = require('jssip');
const [,, url, user, password, domain] = process.argv;
const ua = new JsSIP.UA({sockets: [new JsSIP.WebSocketInterface(url)], uri: `sip:${user}@${domain}`, password, session_timers: false});
ua.on('registered', () => say('registered'));
ua.on('registrationFailed', e => say('not registered', e.cause));
ua.on('newMessage', e => {
  if (e.originator !== 'remote') return;
  e.message.accept();
  say('message', e.request.body);
  ua.sendMessage(`sip:alice@${domain}`, 'hello yourself', {eventHandlers: {succeeded: () => say('delivered'), failed: x => say('undelivered', x.cause)}});
});
ua.on('newRTCSession', e => {
  const call = e.session;
  call.on('confirmed', () => say('confirmed'));
  call.on('ended', x => say('ended', x.originator));
  call.on('failed', x => say('failed', x.originator, x.cause));
  if (e.originator === 'remote') { say('called'); call.answer({mediaStream: {getTracks: () => []}}); }
});
process.stdin.on('data', data => {
  const words = data.toString().trim().split(' ');
  if (words[0] === 'call') ua.call(words[1], {mediaStream: {getTracks: () => []}});
  if (words[0] === 'hangup') ua.terminateSessions();
  if (words[0] === 'stop') { ua.stop(); setTimeout(() => process.exit(0), 500); }
});
ua.start();
