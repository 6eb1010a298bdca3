/** The live table of `%conduit offerings`: what the kernel tells is shown, what is pressed is told. */

import { element, show } from '../shared/dom.js';
import { problemView } from '../shared/problem.js';
import { Panel, widgetOf } from './panel.js';
import type { Given } from './panel.js';

class OfferingPanel extends Panel {
  private readonly connection = element('div');

  constructor(given: Given) {
    super(given, 'Offerings');
    this.root.append(this.connection, this.offerings.root, this.said);
    this.begin();
  }

  protected override refresh(): void {
    this.comm.send({ kind: 'refresh' });
  }

  protected override draw(): void {
    const message = `Disconnected, last seen ${this.comm.seenAt}. Prices are of then.`;
    show(this.connection, !this.comm.isAlive && problemView({ message }));
  }
}

export default widgetOf(OfferingPanel);
